//! Finds an installed PostgreSQL server. Reads the file system and runs `postgres --version`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// The majors that Neon and the emulator serve.
const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

/// Where Debian's packages put their servers, one folder per major.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server's programs.
#[derive(Debug, Clone)]
pub(crate) struct Install {
    bin: PathBuf,
    major: u32,
}

impl Install {
    /// The given folder, else the newest supported one of Debian's, else what `pg_config` on the
    /// `PATH` tells. Data that is already there can only be served by its own major, `kept`.
    pub(crate) fn find(given: Option<&Path>, kept: Option<u32>) -> anyhow::Result<Self> {
        let fits = |install: &Self| kept.is_none_or(|kept| kept == install.major);
        if let Some(bin) = given {
            let install = Self::at(bin)?;
            if !fits(&install) {
                let (kept, major) = (kept.unwrap_or_default(), install.major);
                bail!("the data folder holds branches of PostgreSQL {kept}, not {major}");
            }
            return Ok(install);
        }
        let candidates = debian_folders().into_iter().chain(pg_config_bin());
        let mut installs = candidates.filter_map(|bin| Self::at(&bin).ok());
        if let Some(found) = installs.find(fits) {
            return Ok(found);
        }
        if let Some(kept) = kept {
            bail!(
                "the data folder holds branches of PostgreSQL {kept}, which is not installed \
                 (Debian: apt-get install postgresql-{kept})"
            );
        }
        bail!(
            "no PostgreSQL server of version 15 to 18 found under {DEBIAN} or through pg_config: \
             install one (Debian: apt-get install postgresql-15) or name its bin folder"
        )
    }

    /// The server in `bin`, if its version is supported.
    fn at(bin: &Path) -> anyhow::Result<Self> {
        let program = bin.join("postgres");
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = major(&text).with_context(|| format!("not a version: {text:?}"))?;
        if !SUPPORTED.contains(&major) {
            bail!(
                "{} is PostgreSQL {major}; 15 to 18 are supported",
                program.display()
            );
        }
        if !bin.join("initdb").exists() {
            bail!("{} has no initdb beside postgres", bin.display());
        }
        Ok(Self {
            bin: bin.to_path_buf(),
            major,
        })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A client's program: beside the server's, or on the `PATH`.
    pub(crate) fn client_program(&self, name: &str) -> PathBuf {
        let beside = self.program(name);
        if beside.exists() {
            beside
        } else {
            PathBuf::from(name)
        }
    }

    pub(crate) fn major(&self) -> u32 {
        self.major
    }

    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }
}

/// The major of `postgres (PostgreSQL) 15.18 (Debian …)`, also of `16beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Debian's folders, newest major first.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIAN) else {
        return Vec::new();
    };
    let mut majors: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors
        .iter()
        .map(|major| Path::new(DEBIAN).join(major.to_string()).join("bin"))
        .collect()
}

fn pg_config_bin() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_of_releases_and_previews() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn kept_data_asks_for_its_own_major() {
        let found = Install::find(None, None).unwrap();
        let again = Install::find(Some(&found.bin), Some(found.major)).unwrap();
        assert_eq!(again.major, found.major);
        let error = Install::find(Some(&found.bin), Some(9)).unwrap_err();
        assert!(
            error.to_string().contains("holds branches of PostgreSQL 9"),
            "{error}"
        );
        let error = Install::find(None, Some(9)).unwrap_err();
        assert!(error.to_string().contains("postgresql-9"), "{error}");
    }

    #[test]
    fn a_folder_without_a_server_is_named() {
        let error = Install::find(Some(Path::new("/nowhere")), None).unwrap_err();
        assert!(error.to_string().contains("/nowhere/postgres"), "{error}");
    }
}
