//! SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5803 form, `pg_authid.rolpassword`).
//! Pure but for the random salt. The control plane makes them, so that no plaintext password
//! ever travels in SQL; the proxy checks proofs against them.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The size of every key of the exchange.
pub(crate) type Key = [u8; 32];

/// PostgreSQL's default, also Neon's.
const ITERATIONS: u32 = 4096;

/// What a server has to know to check one user's proof, and to prove itself.
pub(crate) struct Verifier {
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl Verifier {
    /// Derives the verifier of a password with a fresh salt.
    ///
    /// Passwords made here are ASCII, for which SASLprep changes nothing.
    pub(crate) fn of_password(password: &str) -> Self {
        let salt: [u8; 16] = rand::random();
        let salted = salted_password(password.as_bytes(), &salt, ITERATIONS);
        Self {
            iterations: ITERATIONS,
            salt: salt.to_vec(),
            stored_key: sha256(&hmac(&salted, &[b"Client Key"])),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// A verifier that no password matches, the same for a user at every attempt, so that an
    /// attacker cannot tell unknown users from wrong passwords. `secret` is the server's own.
    pub(crate) fn unmatched(secret: &Key, user: &str) -> Self {
        let salt = hmac(secret, &[b"salt", user.as_bytes()]);
        Self {
            iterations: ITERATIONS,
            salt: salt.iter().copied().take(16).collect(),
            stored_key: hmac(secret, &[b"stored", user.as_bytes()]),
            server_key: hmac(secret, &[b"server", user.as_bytes()]),
        }
    }

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rounds, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = rounds.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations.parse().ok()?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server).ok()?.try_into().ok()?,
        })
    }

    /// The text to give to `PASSWORD '…'`.
    pub(crate) fn to_sql_text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key),
        )
    }
}

/// HMAC-SHA-256 over the concatenated parts.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    // HMAC takes keys of any length, so the error case has no inhabitants in practice; an empty
    // key is as good as any there.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&[0; 64].into()));
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

/// Bytewise exclusive or.
pub(crate) fn xor(a: &Key, b: &Key) -> Key {
    let mut out = *a;
    for (byte, other) in out.iter_mut().zip(b) {
        *byte ^= other;
    }
    out
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256, one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut block = hmac(password, &[salt, &1_u32.to_be_bytes()]);
    let mut sum = block;
    for _ in 1..iterations {
        block = hmac(password, &[&block]);
        sum = xor(&sum, &block);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn derives_the_keys_of_the_rfc_example() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4096);
        let auth_message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&hmac(&salted, &[b"Server Key"]), &[auth_message]);
        assert_eq!(
            BASE64.encode(signature),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_verifier_reads_back_what_it_wrote() {
        let made = Verifier::of_password("npg_secret");
        let read = Verifier::parse(&made.to_sql_text()).unwrap();
        assert_eq!(read.stored_key, made.stored_key);
        assert_eq!(read.server_key, made.server_key);
        assert_eq!(read.salt, made.salt);
        assert!(Verifier::parse("md5abc").is_none());
    }

    #[test]
    fn the_verifier_of_an_unknown_user_is_stable_and_its_own() {
        let secret = [7; 32];
        let again = Verifier::unmatched(&secret, "a").salt;
        assert_eq!(Verifier::unmatched(&secret, "a").salt, again);
        assert_ne!(Verifier::unmatched(&secret, "b").salt, again);
    }
}
