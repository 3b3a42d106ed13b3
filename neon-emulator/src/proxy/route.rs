//! Which endpoint a connection means, by its host name (SNI) or its `endpoint` option. Pure.
//! The texts are those of Neon's proxy.

use super::wire::Fatal;
use crate::names;

/// The endpoint that a connection names.
///
/// `sni` is the host name of the TLS handshake, `option` the startup option. A pooled host
/// leads to the same server as the direct one.
pub(crate) fn endpoint(sni: Option<&str>, option: Option<&str>) -> Result<String, Fatal> {
    let from_host = sni.and_then(from_host);
    let from_option = option.map(without_pooler);
    match (from_host, from_option) {
        (Some(host), Some(option)) if host != option => Err(Fatal::protocol(format!(
            "Inconsistent project name inferred from SNI ('{host}') and project option ('{option}')."
        ))),
        (Some(endpoint), _) | (None, Some(endpoint)) => Ok(endpoint.to_owned()),
        (None, None) => Err(Fatal::protocol(
            "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) \
             for SNI support or pass the endpoint ID (first part of the domain name) as a parameter: \
             '?options=endpoint%3D<endpoint-id>'. See more at \
             https://neon.tech/sni",
        )),
    }
}

/// The first label of a host below our domain.
fn from_host(host: &str) -> Option<&str> {
    let label = host.strip_suffix(names::DOMAIN)?.strip_suffix('.')?;
    Some(without_pooler(label))
}

fn without_pooler(label: &str) -> &str {
    label.strip_suffix(names::POOLER_SUFFIX).unwrap_or(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_names_the_endpoint_pooled_or_not() {
        for host in [
            "ep-a-b-1.local.localhost",
            "ep-a-b-1-pooler.local.localhost",
        ] {
            assert_eq!(endpoint(Some(host), None).unwrap(), "ep-a-b-1");
        }
    }

    #[test]
    fn the_option_serves_clients_whose_host_says_nothing() {
        assert_eq!(endpoint(None, Some("ep-x")).unwrap(), "ep-x");
        assert_eq!(
            endpoint(Some("localhost"), Some("ep-x-pooler")).unwrap(),
            "ep-x"
        );
    }

    #[test]
    fn contradiction_and_silence_are_refused() {
        let error = endpoint(Some("ep-a.local.localhost"), Some("ep-b")).unwrap_err();
        assert!(error.message.starts_with("Inconsistent project name"));
        let error = endpoint(Some("localhost"), None).unwrap_err();
        assert!(error.message.starts_with("Endpoint ID is not specified"));
    }
}
