//! Which endpoint a connection means, by its host name (SNI) or its `endpoint` option. Pure.
//! The texts are those of Neon's proxy.

use super::wire::Fatal;
use crate::names;

/// Where a connection is to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: String,
    /// Through the endpoint's connection pooler.
    pub(crate) pooled: bool,
}

/// The endpoint that a connection names.
///
/// `sni` is the host name of the TLS handshake, `option` the startup option.
pub(crate) fn find(sni: Option<&str>, option: Option<&str>) -> Result<Route, Fatal> {
    let (host, option) = (sni.and_then(from_host), option.map(route));
    match (host, option) {
        (Some(host), Some(option)) if host.endpoint != option.endpoint => {
            Err(Fatal::protocol(format!(
                "Inconsistent project name inferred from SNI ('{}') and project option ('{}').",
                host.endpoint, option.endpoint
            )))
        }
        (Some(host), Some(option)) => Ok(Route {
            pooled: host.pooled || option.pooled,
            ..host
        }),
        (Some(route), None) | (None, Some(route)) => Ok(route),
        (None, None) => Err(Fatal::protocol(
            "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) \
             for SNI support or pass the endpoint ID (first part of the domain name) as a parameter: \
             '?options=endpoint%3D<endpoint-id>'. See more at \
             https://neon.tech/sni",
        )),
    }
}

/// The first label of a host below our domain.
fn from_host(host: &str) -> Option<Route> {
    Some(route(host.strip_suffix(names::DOMAIN)?.strip_suffix('.')?))
}

fn route(label: &str) -> Route {
    let direct = label.strip_suffix(names::POOLER_SUFFIX);
    Route {
        endpoint: direct.unwrap_or(label).to_owned(),
        pooled: direct.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_names_the_endpoint_pooled_or_not() {
        for (host, pooled) in [
            ("ep-a-b-1.local.localhost", false),
            ("ep-a-b-1-pooler.local.localhost", true),
        ] {
            let endpoint = "ep-a-b-1".to_owned();
            assert_eq!(find(Some(host), None).unwrap(), Route { endpoint, pooled });
        }
    }

    #[test]
    fn the_option_serves_clients_whose_host_says_nothing() {
        assert_eq!(find(None, Some("ep-x")).unwrap(), route("ep-x"));
        assert_eq!(
            find(Some("localhost"), Some("ep-x-pooler")).unwrap(),
            route("ep-x-pooler")
        );
    }

    #[test]
    fn contradiction_and_silence_are_refused() {
        let error = find(Some("ep-a.local.localhost"), Some("ep-b")).unwrap_err();
        assert!(error.message.starts_with("Inconsistent project name"));
        let error = find(Some("localhost"), None).unwrap_err();
        assert!(error.message.starts_with("Endpoint ID is not specified"));
    }
}
