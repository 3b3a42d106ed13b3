//! Settings of the operator: read from flags and environment, checked, and from then on right by their types.
//!
//! The only reader of the operator's flags and environment. A wrong value ends the start with a message that names the
//! flag, the value and what would be right.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::telemetry::LogFormat;

/// Flags of `sepulki operator`. Each can be given by its environment variable too; the flag wins.
#[derive(Clone, Debug, clap::Args)]
pub struct OperatorArgs {
    /// Name of this installation. Marks the branches it creates: operators with the same name share them, with
    /// different names they leave each other's alone. Keep it when the cluster is replaced.
    #[arg(long, env = "SEPULKI_INSTALLATION", default_value = "default", value_name = "NAME", value_parser = dns_label)]
    pub installation: String,

    /// Address of Neon's API, with its version.
    #[arg(
        long,
        env = "NEON_API_HOST",
        default_value = "https://console.neon.tech/api/v2",
        value_name = "URL",
        value_parser = api_host
    )]
    pub neon_api_host: String,

    /// Port on which Neon's endpoints answer.
    #[arg(
        long,
        env = "NEON_PG_PORT",
        default_value_t = 5432,
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub neon_pg_port: u16,

    /// PEM file with the certificate authority of Neon's endpoints. Read at the start. Unset: hosted Neon, whose
    /// certificates public authorities sign. Set: published Secrets carry it and say `verify-full`.
    #[arg(long, env = "PGSSLROOTCERT", value_name = "FILE")]
    pub pg_ssl_root_cert: Option<PathBuf>,

    /// Where applications mount `ca.crt` of their connection Secret; written to it as `PGSSLROOTCERT`.
    #[arg(
        long,
        env = "SEPULKI_CA_MOUNT_PATH",
        default_value = "/etc/sepulki/ca.crt",
        value_name = "PATH",
        value_parser = absolute_path
    )]
    pub ca_mount_path: String,

    /// The only namespace to look after. Unset: all namespaces.
    #[arg(long, env = "SEPULKI_NAMESPACE", value_name = "NAMESPACE", value_parser = dns_label)]
    pub namespace: Option<String>,

    /// Address of `/livez`, `/readyz` and `/metrics`.
    #[arg(
        long,
        env = "SEPULKI_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

    /// How log lines look.
    #[arg(long, env = "SEPULKI_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: a level (error, warn, info, debug, trace), or levels by module, as in
    /// `info,sepulki=debug,kube=warn`.
    #[arg(long, env = "SEPULKI_LOG_LEVEL", default_value = "info", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Targets,

    /// How often a Neon project is looked at: two list calls each time, however many objects it has. From 1s to 1h.
    #[arg(
        long,
        env = "SEPULKI_SNAPSHOT_INTERVAL",
        default_value = "60s",
        value_name = "DURATION",
        value_parser = snapshot_interval
    )]
    pub snapshot_interval: Duration,

    /// How many objects are worked on at a time; the others wait in the order in which they came.
    #[arg(
        long,
        env = "SEPULKI_MAX_CONCURRENT_PASSES",
        default_value = "32",
        value_name = "NUMBER"
    )]
    pub max_concurrent_passes: NonZeroUsize,

    /// Whether to act only while holding the leader's lease. `false` only where nothing else can ever run beside it.
    #[arg(
        long,
        env = "SEPULKI_LEADER_ELECTION",
        default_value_t = true,
        value_name = "BOOL",
        action = clap::ArgAction::Set
    )]
    pub leader_election: bool,

    /// Namespace of the leader's lease. In a Deployment: the namespace of the pod.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "sepulki-system",
        value_name = "NAMESPACE",
        value_parser = dns_label
    )]
    pub lease_namespace: String,

    /// Name of this process in the lease and in events; made unique per process. In a Deployment: the pod's name.
    #[arg(
        long,
        env = "POD_NAME",
        default_value = "sepulki-operator",
        value_name = "NAME"
    )]
    pub identity: String,
}

/// A certificate authority that PostgreSQL's certificates are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// The file's contents: at least one certificate in PEM.
    pub pem: String,
    /// Where applications mount it.
    pub mount_path: String,
}

/// Where the leader's lease is and who we are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease, by installation.
    pub lease: String,
}

/// Settings of the operator, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this installation in the mark of ownership on branches.
    pub installation: String,
    /// Address of Neon's API, without a slash at its end.
    pub neon_api_host: String,
    /// Port on which Neon's endpoints answer.
    pub neon_pg_port: u16,
    /// Authority of PostgreSQL's certificates; none for hosted Neon.
    pub certificate_authority: Option<CertificateAuthority>,
    /// The only namespace to look after; none for all.
    pub namespace: Option<String>,
    /// Address of the admin server.
    pub listen: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: Targets,
    /// How often a Neon project is looked at.
    pub snapshot_interval: Duration,
    /// How many passes run at a time.
    pub max_concurrent_passes: NonZeroUsize,
    /// The leader's lease; none if elections are off.
    pub leader_election: Option<LeaderElection>,
    /// Name of this process, unlike that of any other, also of an earlier one in the same pod.
    pub identity: String,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {value}: {problem}")]
pub struct ConfigError {
    /// The flag, with its environment variable.
    pub flag: &'static str,
    /// The value given.
    pub value: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl Config {
    /// Completes what the command line has checked value by value: reads the file it names.
    ///
    /// # Errors
    /// When the certificate authority's file cannot be read or holds no certificate.
    pub fn load(args: OperatorArgs) -> Result<Self, ConfigError> {
        let certificate_authority = match args.pg_ssl_root_cert {
            Some(path) => Some(CertificateAuthority {
                pem: read_pem(&path)?,
                mount_path: args.ca_mount_path,
            }),
            None => None,
        };
        let lease = format!("sepulki-operator-{}", args.installation);
        let leader_election = args.leader_election.then_some(LeaderElection {
            namespace: args.lease_namespace,
            lease,
        });
        Ok(Self {
            installation: args.installation,
            neon_api_host: args.neon_api_host,
            neon_pg_port: args.neon_pg_port,
            certificate_authority,
            namespace: args.namespace,
            listen: args.listen,
            log_format: args.log_format,
            log_level: args.log_level,
            snapshot_interval: args.snapshot_interval,
            max_concurrent_passes: args.max_concurrent_passes,
            leader_election,
            identity: format!("{}-{}", args.identity, uuid::Uuid::new_v4().simple()),
        })
    }
}

fn read_pem(path: &std::path::Path) -> Result<String, ConfigError> {
    let error = |problem: String| ConfigError {
        flag: "--pg-ssl-root-cert (PGSSLROOTCERT)",
        value: path.display().to_string(),
        problem,
    };
    let pem = std::fs::read_to_string(path).map_err(|cause| {
        error(format!(
            "{cause}; give a readable PEM file, or unset it for hosted Neon"
        ))
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(pem),
        Ok(_) => Err(error(
            "holds no certificate; give a file with -----BEGIN CERTIFICATE-----".into(),
        )),
        Err(cause) => Err(error(format!(
            "is no PEM file ({cause}); give a file with -----BEGIN CERTIFICATE-----"
        ))),
    }
}

/// As namespaces are named.
fn dns_label(value: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=63).contains(&value.len());
    if fits && value.chars().all(inner) && !value.starts_with('-') && !value.ends_with('-') {
        Ok(value.to_owned())
    } else {
        Err("give 1 to 63 lower-case letters, digits and inner hyphens".into())
    }
}

fn api_host(value: &str) -> Result<String, String> {
    let remedy = "give an address such as https://console.neon.tech/api/v2";
    let uri: http::Uri = value
        .parse()
        .map_err(|cause| format!("{cause}; {remedy}"))?;
    if uri.host().is_none() || !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(format!("no http or https address; {remedy}"));
    }
    if uri.query().is_some() {
        return Err(format!("must not have a query; {remedy}"));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

fn absolute_path(value: &str) -> Result<String, String> {
    if value.starts_with('/') && !value.ends_with('/') {
        Ok(value.to_owned())
    } else {
        Err("give the absolute path of a file, such as /etc/sepulki/ca.crt".into())
    }
}

fn log_level(value: &str) -> Result<Targets, String> {
    let remedy = "give off, error, warn, info, debug or trace, or levels by module, as in info,sepulki=debug";
    // a word alone would be taken for a module of which all is logged, and of others nothing
    let mut words = value.split(',').map(str::trim);
    if let Some(word) = words.find(|w| !w.contains('=') && w.parse::<LevelFilter>().is_err()) {
        return Err(format!("{word:?} is no level; {remedy}"));
    }
    value.parse().map_err(|cause| format!("{cause}; {remedy}"))
}

fn snapshot_interval(value: &str) -> Result<Duration, String> {
    let remedy = "give a duration from 1s to 1h, such as 60s or 5m";
    let parsed: jiff::SignedDuration = value
        .parse()
        .map_err(|cause| format!("{cause}; {remedy}"))?;
    let interval = Duration::try_from(parsed).map_err(|_| remedy.to_owned())?;
    if (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&interval) {
        Ok(interval)
    } else {
        Err(remedy.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    /// Parses flags alone: the environment in which tests run must not matter.
    fn parse(flags: &[&str]) -> Result<OperatorArgs, String> {
        let command = OperatorArgs::augment_args(Command::new("sepulki"))
            .mut_args(|arg| arg.env(None::<&'static str>));
        let words = std::iter::once("sepulki").chain(flags.iter().copied());
        let matches = command
            .try_get_matches_from(words)
            .map_err(|error| error.to_string())?;
        OperatorArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_given_is_an_operator_of_hosted_neon_for_all_namespaces() {
        let config = Config::load(parse(&[]).unwrap()).unwrap();
        assert_eq!(config.installation, "default");
        assert_eq!(config.neon_api_host, "https://console.neon.tech/api/v2");
        assert_eq!(config.neon_pg_port, 5432);
        assert_eq!(config.certificate_authority, None);
        assert_eq!(config.namespace, None);
        assert_eq!(config.snapshot_interval, Duration::from_mins(1));
        assert_eq!(
            config.leader_election.unwrap().lease,
            "sepulki-operator-default"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_flag_and_what_would_be_right() {
        for (flag, value, remedy) in [
            ("--installation", "My Team", "lower-case letters"),
            ("--namespace", "-x", "lower-case letters"),
            (
                "--neon-api-host",
                "console.neon.tech",
                "https://console.neon.tech/api/v2",
            ),
            ("--neon-api-host", "ftp://neon", "http or https"),
            ("--neon-pg-port", "0", "1..=65535"),
            ("--ca-mount-path", "ca.crt", "absolute path"),
            ("--listen", "8080", "socket address"),
            ("--log-level", "sepulki=loud", "info,sepulki=debug"),
            ("--log-level", "verbose", "warn, info, debug"),
            ("--log-level", "info,sepulki", "info,sepulki=debug"),
            ("--snapshot-interval", "60", "60s or 5m"),
            ("--snapshot-interval", "500ms", "from 1s to 1h"),
            ("--snapshot-interval", "-5s", "from 1s to 1h"),
            ("--max-concurrent-passes", "0", "zero"),
            ("--leader-election", "maybe", "true, false"),
        ] {
            let message = parse(&[&format!("{flag}={value}")]).unwrap_err();
            assert!(message.contains(flag), "{message}");
            assert!(message.contains(value), "{message}");
            assert!(message.contains(remedy), "{flag}={value}: {message}");
        }
    }

    #[test]
    fn what_is_given_is_taken() {
        let flags = [
            "--neon-api-host=http://127.0.0.1:9000/api/v2/",
            "--namespace=team-a",
            "--snapshot-interval=5m",
            "--leader-election=false",
            "--log-level=WARN,sepulki=debug",
        ];
        let config = Config::load(parse(&flags).unwrap()).unwrap();
        assert_eq!(config.neon_api_host, "http://127.0.0.1:9000/api/v2");
        assert_eq!(config.namespace.as_deref(), Some("team-a"));
        assert_eq!(config.snapshot_interval, Duration::from_mins(5));
        assert_eq!(config.leader_election, None);
    }

    #[test]
    fn two_processes_never_share_a_name() {
        let flags = ["--identity=sepulki-operator-0"];
        let (one, two) = (
            Config::load(parse(&flags).unwrap()),
            Config::load(parse(&flags).unwrap()),
        );
        let (one, two) = (one.unwrap().identity, two.unwrap().identity);
        assert!(one.starts_with("sepulki-operator-0-"));
        assert_ne!(one, two);
    }

    #[test]
    fn a_certificate_authority_is_read_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let flag = format!("--pg-ssl-root-cert={}", file.display());
        let load = || Config::load(parse(&[&flag]).unwrap());

        let missing = load().unwrap_err().to_string();
        assert!(
            missing.contains("PGSSLROOTCERT") && missing.contains("ca.pem"),
            "{missing}"
        );

        std::fs::write(&file, "no certificate").unwrap();
        assert!(load().unwrap_err().problem.contains("BEGIN CERTIFICATE"));

        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&file, pem).unwrap();
        let authority = load().unwrap().certificate_authority.unwrap();
        assert_eq!(
            authority,
            CertificateAuthority {
                pem: pem.into(),
                mount_path: "/etc/sepulki/ca.crt".into()
            }
        );
    }
}
