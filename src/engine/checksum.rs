//! SHA-256 of files, and the lenient comparison with what a ledger recorded. Pure.
//!
//! What is written is the lower-case hex SHA-256 of the raw bytes, as the shell tools before
//! the operator wrote it. On the way through editors, Git and YAML block scalars a file changes
//! its line endings, byte order mark and final line break without anybody's intent; a recorded
//! sum matches if it is the sum of any of these variants. Inside a file nothing is normalised:
//! a line break within a string constant is data.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Lower-case hex SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether `recorded` can be a checksum at all; the old runner also wrote `unknown`.
#[must_use]
pub fn is_checksum(recorded: &str) -> bool {
    recorded.len() == 64 && recorded.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether `recorded` is the checksum of `bytes` or of a variant that means the same.
pub(crate) fn matches(bytes: &[u8], recorded: &str) -> bool {
    let recorded = recorded.to_ascii_lowercase();
    sha256(bytes) == recorded
        || variants(bytes)
            .iter()
            .any(|variant| sha256(variant) == recorded)
}

/// The checksums of `bytes` and of all variants that mean the same.
pub(crate) fn all(bytes: &[u8]) -> BTreeSet<String> {
    let variants = variants(bytes);
    let variants = variants.iter().map(|variant| sha256(variant));
    variants.chain([sha256(bytes)]).collect()
}

/// With LF or CRLF, with and without byte order mark, with and without a final line break.
fn variants(bytes: &[u8]) -> Vec<Vec<u8>> {
    let body = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let unix = replace(body, b"\r\n", b"\n");
    let bare = unix.strip_suffix(b"\n").unwrap_or(&unix);
    let mut variants = Vec::with_capacity(12);
    for ended in [bare.to_vec(), [bare, b"\n"].concat()] {
        for line_ends in [replace(&ended, b"\n", b"\r\n"), ended] {
            variants.push([BOM, &line_ends].concat());
            variants.push(line_ends);
        }
    }
    // mixed line endings as they are, only the mark or the final break differs
    let end: &[u8] = if body.ends_with(b"\r\n") {
        b"\r\n"
    } else {
        b"\n"
    };
    let bare = body.strip_suffix(end).unwrap_or(body);
    for ended in [bare.to_vec(), [bare, end].concat()] {
        variants.push([BOM, &ended].concat());
        variants.push(ended);
    }
    variants
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        result.extend_from_slice(before);
        result.extend_from_slice(to);
        rest = after.get(from.len()..).unwrap_or_default();
    }
    result.extend_from_slice(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_endings_mark_and_final_break_do_not_matter() {
        let seen = b"SELECT 1;\nSELECT 2;\n";
        for recorded in [
            &b"SELECT 1;\nSELECT 2;\n"[..],
            b"SELECT 1;\nSELECT 2;",
            b"SELECT 1;\r\nSELECT 2;\r\n",
            b"SELECT 1;\r\nSELECT 2;",
            b"\xef\xbb\xbfSELECT 1;\nSELECT 2;\n",
            b"\xef\xbb\xbfSELECT 1;\r\nSELECT 2;\r\n",
            b"\xef\xbb\xbfSELECT 1;\r\nSELECT 2;",
        ] {
            let text = String::from_utf8_lossy(recorded);
            assert!(matches(seen, &sha256(recorded)), "{text:?}");
            assert!(matches(recorded, &sha256(seen)), "{text:?}");
        }
        let mixed = b"SELECT 1;\r\nSELECT 2;\nSELECT 3;\n";
        assert!(matches(mixed, &sha256(mixed.strip_suffix(b"\n").unwrap())));
        assert!(matches(seen, &sha256(seen).to_uppercase()));
    }

    #[test]
    fn everything_else_does() {
        let seen = b"SELECT 1;\nSELECT 2;\n";
        for recorded in [
            &b"SELECT 1;\n\nSELECT 2;\n"[..],
            b"SELECT 1;\nSELECT 2;\n\n\n",
            b"SELECT 1; \nSELECT 2;\n",
            b"SELECT 1;\rSELECT 2;\r",
            b"select 1;\nSELECT 2;\n",
        ] {
            let text = String::from_utf8_lossy(recorded);
            assert!(!matches(seen, &sha256(recorded)), "{text:?}");
        }
    }

    #[test]
    fn words_are_no_checksums() {
        assert!(is_checksum(&sha256(b"")));
        assert!(!is_checksum("unknown"));
        assert!(!is_checksum(""));
        assert!(!is_checksum(&"g".repeat(64)));
    }
}
