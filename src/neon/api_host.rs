//! Where Neon's API is. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// Base address of Neon's API, as `NEON_API_HOST` holds it for Neon's own command line: ends in `/api/v2`.
///
/// The key is sent to it with every call, so it must be `https`, save on the machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiHost(Url);

/// Why an address is not one of Neon's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiHost {
    /// Not an address at all.
    #[error("is not a URL such as https://console.neon.tech/api/v2")]
    NotUrl,
    /// Neither https, nor http to this machine.
    #[error("must begin with https:// (http:// is accepted only for this machine)")]
    NotSecure,
    /// User, password, query or fragment in it.
    #[error("must hold nothing but scheme, host, port and path")]
    Surplus,
    /// Another path.
    #[error("must end in /api/v2")]
    NotVersion2,
}

impl ApiHost {
    /// Hosted Neon.
    pub const HOSTED: &'static str = "https://console.neon.tech/api/v2";

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Whether it is spoken to without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The address of what these segments name, each percent-encoded. None where a segment would change the path's
    /// shape: an empty one makes Neon answer for something else, a dotted one would be resolved away.
    pub(super) fn join<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Option<Url> {
        let mut url = self.0.clone();
        {
            let mut path = url.path_segments_mut().ok()?;
            for segment in segments {
                if matches!(segment, "" | "." | "..") {
                    return None;
                }
                path.push(segment);
            }
        }
        Some(url)
    }
}

impl FromStr for ApiHost {
    type Err = InvalidApiHost;

    fn from_str(text: &str) -> Result<Self, InvalidApiHost> {
        let url = Url::parse(text.trim().trim_end_matches('/'))
            .ok()
            .filter(Url::has_host)
            .ok_or(InvalidApiHost::NotUrl)?;
        if !matches!(
            (url.scheme(), is_loopback(&url)),
            ("https", _) | ("http", true)
        ) {
            return Err(InvalidApiHost::NotSecure);
        }
        let surplus = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if surplus {
            return Err(InvalidApiHost::Surplus);
        }
        if !url.path().ends_with("/api/v2") {
            return Err(InvalidApiHost::NotVersion2);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for ApiHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_could_give_the_key_away_is_refused() {
        use InvalidApiHost::{NotSecure, NotUrl, NotVersion2, Surplus};
        let rows = [
            ("https://console.neon.tech/api/v2", Ok(())),
            ("https://console.neon.tech/api/v2/", Ok(())),
            (" https://proxy.example:8443/neon/api/v2\n", Ok(())),
            ("http://127.0.0.1:9/api/v2", Ok(())),
            ("http://[::1]:9/api/v2", Ok(())),
            ("http://localhost:9/api/v2", Ok(())),
            ("http://neon.localhost:9/api/v2", Ok(())),
            ("http://console.neon.tech/api/v2", Err(NotSecure)),
            ("http://localhost.example/api/v2", Err(NotSecure)),
            ("http://127.0.0.1.example/api/v2", Err(NotSecure)),
            ("ftp://127.0.0.1/api/v2", Err(NotSecure)),
            ("https://user:word@console.neon.tech/api/v2", Err(Surplus)),
            ("https://console.neon.tech/api/v2?a=b", Err(Surplus)),
            ("https://console.neon.tech/api/v2#a", Err(Surplus)),
            ("https://console.neon.tech", Err(NotVersion2)),
            ("https://console.neon.tech/api/v1", Err(NotVersion2)),
            ("console.neon.tech/api/v2", Err(NotUrl)),
            ("", Err(NotUrl)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<ApiHost>().map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn segments_are_encoded_and_never_change_the_shape_of_the_path() {
        let host: ApiHost = "https://console.neon.tech/api/v2/".parse().unwrap();
        let url = host.join(["projects", "a/b", "c?d#e", "f g", "100%"]);
        assert_eq!(
            url.unwrap().as_str(),
            "https://console.neon.tech/api/v2/projects/a%2Fb/c%3Fd%23e/f%20g/100%25"
        );
        for shapeless in ["", ".", ".."] {
            assert_eq!(host.join(["projects", shapeless, "branches"]), None);
        }
    }

    #[test]
    fn the_default_is_an_address_itself() {
        let host: ApiHost = ApiHost::HOSTED.parse().unwrap();
        assert_eq!(host.to_string(), ApiHost::HOSTED);
        assert!(!host.is_loopback());
    }
}
