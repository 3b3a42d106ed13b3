//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), with the
//! channel binding `tls-server-end-point`. Pure but for the nonce.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::scram::{Key, Verifier, hmac, sha256, xor};

/// The mechanisms that are offered, the stronger one first, in the form of the protocol.
pub(crate) const MECHANISMS: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

/// Why an exchange failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What came is not SCRAM, or an attempt to weaken it.
    Malformed(&'static str),
    /// The proof is wrong.
    WrongPassword,
}

/// An exchange that has had its first message from the client.
pub(crate) struct Exchange<'a> {
    verifier: &'a Verifier,
    client_first_bare: String,
    server_first: String,
    nonce: String,
    /// What the client has to repeat: its header and, with PLUS, the binding.
    channel_binding: String,
}

impl<'a> Exchange<'a> {
    /// Reads the client's first message.
    pub(crate) fn start(
        verifier: &'a Verifier,
        end_point: &Key,
        mechanism: &str,
        client_first: &str,
    ) -> Result<Self, Failure> {
        let (flag, rest) = client_first
            .split_once(',')
            .ok_or(Failure::Malformed("no channel binding flag"))?;
        let (authzid, bare) = rest
            .split_once(',')
            .ok_or(Failure::Malformed("no first message"))?;
        let bound = match (mechanism, flag) {
            ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point") => true,
            ("SCRAM-SHA-256", "n") => false,
            // The client could bind and believes that we cannot: somebody has removed our offer.
            ("SCRAM-SHA-256", "y") => {
                return Err(Failure::Malformed(
                    "channel binding negotiation was tampered with",
                ));
            }
            _ => {
                return Err(Failure::Malformed(
                    "mechanism and channel binding do not agree",
                ));
            }
        };
        let client_nonce = attribute(bare, 'r').filter(|nonce| !nonce.is_empty());
        let client_nonce = client_nonce.ok_or(Failure::Malformed("no nonce"))?;
        let nonce = format!(
            "{client_nonce}{}",
            BASE64.encode(rand::random::<[u8; 18]>())
        );
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&verifier.salt),
            verifier.iterations
        );
        let mut channel_binding = format!("{flag},{authzid},").into_bytes();
        if bound {
            channel_binding.extend_from_slice(end_point);
        }
        Ok(Self {
            verifier,
            client_first_bare: bare.to_owned(),
            server_first,
            nonce,
            channel_binding: BASE64.encode(channel_binding),
        })
    }

    /// The server's first message.
    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's proof; returns the server's own.
    pub(crate) fn finish(&self, client_final: &str) -> Result<String, Failure> {
        let (without_proof, proof) = client_final
            .rsplit_once(",p=")
            .ok_or(Failure::Malformed("no proof"))?;
        if attribute(without_proof, 'r') != Some(&self.nonce) {
            return Err(Failure::Malformed("the nonce is another one"));
        }
        if attribute(without_proof, 'c') != Some(&self.channel_binding) {
            return Err(Failure::Malformed("channel binding check failed"));
        }
        let proof = BASE64
            .decode(proof)
            .ok()
            .and_then(|bytes| Key::try_from(bytes).ok());
        let proof = proof.ok_or(Failure::Malformed("the proof has a wrong length"))?;
        let auth_message = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.server_first
        );
        let signature = hmac(&self.verifier.stored_key, &[auth_message.as_bytes()]);
        if sha256(&xor(&signature, &proof)) != self.verifier.stored_key {
            return Err(Failure::WrongPassword);
        }
        let own = hmac(&self.verifier.server_key, &[auth_message.as_bytes()]);
        Ok(format!("v={}", BASE64.encode(own)))
    }
}

/// The value of `<name>=…` in a comma-separated list.
fn attribute(list: &str, name: char) -> Option<&str> {
    list.split(',')
        .find_map(|item| item.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_POINT: Key = [9; 32];

    fn started<'a>(
        verifier: &'a Verifier,
        mechanism: &str,
        first: &str,
    ) -> Result<Exchange<'a>, Failure> {
        Exchange::start(verifier, &END_POINT, mechanism, first)
    }

    #[test]
    fn refuses_weakened_and_mixed_up_beginnings() {
        let verifier = Verifier::of_password("x");
        for (mechanism, first) in [
            ("SCRAM-SHA-256", "y,,n=,r=abc"),
            ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc"),
            ("SCRAM-SHA-256-PLUS", "n,,n=,r=abc"),
            ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc"),
            ("SCRAM-SHA-256", "n,,n=,r="),
            ("SCRAM-SHA-256", "nonsense"),
        ] {
            assert!(
                matches!(
                    started(&verifier, mechanism, first),
                    Err(Failure::Malformed(_))
                ),
                "{first}"
            );
        }
    }

    #[test]
    fn a_wrong_proof_and_a_wrong_binding_are_told_apart() {
        let verifier = Verifier::of_password("x");
        let exchange = started(&verifier, "SCRAM-SHA-256", "n,,n=,r=abc").unwrap();
        let nonce = attribute(exchange.server_first(), 'r').unwrap().to_owned();
        assert!(nonce.starts_with("abc") && nonce.len() > 20);
        let proof = BASE64.encode([0; 32]);
        assert_eq!(
            exchange.finish(&format!("c=biws,r={nonce},p={proof}")),
            Err(Failure::WrongPassword)
        );
        let moved = exchange.finish(&format!("c=cD10bHM=,r={nonce},p={proof}"));
        assert_eq!(
            moved,
            Err(Failure::Malformed("channel binding check failed"))
        );
        let replayed = exchange.finish(&format!("c=biws,r=abc,p={proof}"));
        assert_eq!(
            replayed,
            Err(Failure::Malformed("the nonce is another one"))
        );
    }
}
