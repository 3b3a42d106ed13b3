//! The file that points a shell at an environment. Pure but for asking where `kubectl` is.

use std::{env, fmt::Write, path::Path};

use super::Environment;
use crate::assets;

/// What `kubectl`, `neonctl` and `psql` read, as commands for a POSIX shell.
pub(crate) fn variables(environment: &Environment) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, value) in [
        (
            "KUBECONFIG",
            environment.cluster.kubeconfig_file().display().to_string(),
        ),
        ("NEON_API_HOST", environment.neon_api_host.clone()),
        ("NEON_API_KEY", environment.neon_api_key.clone()),
        ("NEON_PROJECT_ID", environment.neon_project_id.clone()),
        ("NEON_PG_PORT", environment.neon_pg_port.to_string()),
        ("PGPORT", environment.neon_pg_port.to_string()),
        ("PGSSLROOTCERT", environment.ca_file.display().to_string()),
    ] {
        writeln!(text, "export {name}={}", quoted(&value))?;
    }
    // Where none is installed, the one that was built.
    if let Some(dir) = assets::kubectl()?.parent().filter(|dir| !is_on_path(dir)) {
        writeln!(
            text,
            "export PATH={}:\"$PATH\"",
            quoted(&dir.display().to_string())
        )?;
    }
    Ok(text)
}

/// For a POSIX shell: as it is where nothing in it is special, else in single quotes.
fn quoted(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/:._-".contains(character);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn is_on_path(dir: &Path) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|entry| entry == dir))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_survive_a_shell() {
        for value in [
            "/plain/path-1.crt",
            "",
            "with space",
            "it's",
            "$HOME `id` \"x\"",
            "http://127.0.0.1:1/api/v2",
        ] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("v={}; printf %s \"$v\"", quoted(value))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
