//! The first packets of a connection: asking for TLS, cancelling, starting a session. Pure.

use std::collections::BTreeMap;

use super::wire::{self, Fatal};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
const MAJOR_3: u32 = 3;

/// The newest minor of protocol 3 that servers before and from 18 on speak; poolers as the older.
const OLD_MINOR: u32 = 0;
const NEW_MINOR: u32 = 2;

/// A packet that may come first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    Ssl,
    Gss,
    /// Process id and key, as the server gave them out; the key's length is the server's affair.
    Cancel(Vec<u8>),
    Startup(Startup),
}

/// What a client says of the session it wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Startup {
    minor: u32,
    parameters: BTreeMap<String, String>,
}

impl First {
    /// Reads a packet without its length.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Fatal> {
        let (code, rest) = wire::split_u32(packet)
            .ok_or_else(|| Fatal::protocol("invalid length of startup packet"))?;
        match code {
            SSL_REQUEST => Ok(Self::Ssl),
            GSS_REQUEST => Ok(Self::Gss),
            CANCEL_REQUEST => Ok(Self::Cancel(rest.to_vec())),
            version if version >> 16 == MAJOR_3 => {
                let parameters = parameters(rest).ok_or_else(|| {
                    Fatal::protocol(
                        "invalid startup packet layout: expected terminator as last byte",
                    )
                })?;
                Ok(Self::Startup(Startup {
                    minor: version & 0xffff,
                    parameters,
                }))
            }
            version => Err(Fatal::new(
                "0A000",
                format!(
                    "unsupported frontend protocol {}.{}",
                    version >> 16,
                    version & 0xffff
                ),
            )),
        }
    }
}

impl Startup {
    pub(crate) fn user(&self) -> Result<&str, Fatal> {
        let user = self.parameters.get("user").filter(|user| !user.is_empty());
        user.map(String::as_str).ok_or_else(|| {
            Fatal::new(
                "28000",
                "no PostgreSQL user name specified in startup packet",
            )
        })
    }

    /// Takes `endpoint=…` (or its older name `project=…`) out of `options`, which the server
    /// would not understand.
    pub(crate) fn take_endpoint(&mut self) -> Option<String> {
        let options = self.parameters.remove("options")?;
        let mut endpoint = None;
        let mut others = Vec::new();
        for word in options.split_whitespace() {
            match word
                .strip_prefix("endpoint=")
                .or_else(|| word.strip_prefix("project="))
            {
                Some(name) => endpoint = Some(name.to_owned()),
                None => others.push(word),
            }
        }
        if endpoint.is_none() {
            self.parameters.insert("options".into(), options);
        } else if !others.is_empty() {
            self.parameters.insert("options".into(), others.join(" "));
        }
        endpoint
    }

    /// Comes down to what the other side speaks: 3.2 or nothing newer than 3.0. Returns the answer to a client that
    /// asked for more; it has to be told before it authenticates.
    pub(crate) fn negotiate(&mut self, speaks_3_2: bool) -> Option<Vec<u8>> {
        let newest = if speaks_3_2 { NEW_MINOR } else { OLD_MINOR };
        let (extensions, known): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.parameters)
                .into_iter()
                .partition(|(name, _)| name.starts_with("_pq_."));
        self.parameters = known;
        if self.minor <= newest && extensions.is_empty() {
            return None;
        }
        self.minor = self.minor.min(newest);
        let mut body = ((MAJOR_3 << 16) | newest).to_be_bytes().to_vec();
        body.extend_from_slice(
            &u32::try_from(extensions.len())
                .unwrap_or_default()
                .to_be_bytes(),
        );
        for name in extensions.keys() {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
        }
        Some(wire::message(b'v', &body))
    }

    /// The packet for the server.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = ((MAJOR_3 << 16) | self.minor).to_be_bytes().to_vec();
        for (name, value) in &self.parameters {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        wire::length_prefixed(&body)
    }
}

/// The packet with which a session is asked to stop what it does.
pub(crate) fn cancel_request(key: &[u8]) -> Vec<u8> {
    let mut body = CANCEL_REQUEST.to_be_bytes().to_vec();
    body.extend_from_slice(key);
    wire::length_prefixed(&body)
}

fn parameters(mut bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    loop {
        let (name, rest) = wire::split_text(bytes)?;
        if name.is_empty() {
            return Some(out);
        }
        let (value, rest) = wire::split_text(rest)?;
        out.insert(name.to_owned(), value.to_owned());
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(minor: u32, parameters: &[(&str, &str)]) -> Startup {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Startup { minor, parameters }
    }

    #[test]
    fn a_startup_packet_survives_the_proxy() {
        let sent = startup(0, &[("user", "a"), ("database", "b")]);
        assert_eq!(
            First::parse(&sent.encode()[4..]).unwrap(),
            First::Startup(sent)
        );
        assert!(First::parse(&[0, 3]).is_err());
        assert!(First::parse(b"\0\x03\0\0user\0a").is_err());
        assert_eq!(
            First::parse(&80_877_103_u32.to_be_bytes()).unwrap(),
            First::Ssl
        );
    }

    #[test]
    fn the_endpoint_is_taken_out_of_the_options_and_the_rest_stays() {
        let mut both = startup(
            0,
            &[("user", "a"), ("options", "-c work_mem=1MB endpoint=ep-x")],
        );
        assert_eq!(both.take_endpoint().as_deref(), Some("ep-x"));
        assert_eq!(both.parameters["options"], "-c work_mem=1MB");

        let mut alone = startup(0, &[("options", "endpoint=ep-x")]);
        assert_eq!(alone.take_endpoint().as_deref(), Some("ep-x"));
        assert!(!alone.parameters.contains_key("options"));

        let mut none = startup(0, &[("options", "-c a=b\\ c")]);
        assert_eq!(none.take_endpoint(), None);
        assert_eq!(none.parameters["options"], "-c a=b\\ c");
    }

    #[test]
    fn newer_protocols_come_down_to_what_the_server_speaks() {
        assert_eq!(startup(2, &[]).negotiate(true), None);
        let mut new = startup(2, &[("_pq_.x", "1")]);
        let answer = new.negotiate(false).unwrap();
        assert_eq!(answer[5..13], [0, 3, 0, 0, 0, 0, 0, 1]);
        assert_eq!(new, startup(0, &[]));
    }
}
