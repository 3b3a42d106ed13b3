//! Takes secrets out of text that is about to be shown. Pure.

/// What stands in a secret's place.
const HIDDEN: &str = "…";
/// How Neon's secrets begin: passwords it makes, and API keys.
const PREFIXES: [&str; 2] = ["npg_", "napi_"];
/// Keys shorter than this are no keys, and replacing them would garble the text.
const SHORTEST_KEY: usize = 8;

/// The text without `key`, without Neon's passwords and keys and without the passwords of URIs.
pub(super) fn redact(text: &str, key: &str) -> String {
    let mut text = if key.len() >= SHORTEST_KEY {
        text.replace(key, HIDDEN)
    } else {
        text.to_owned()
    };
    for prefix in PREFIXES {
        text = hide_tokens(&text, prefix);
    }
    hide_uri_passwords(&text)
}

fn hide_tokens(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(prefix);
        out.push_str(HIDDEN);
        out.push_str(part.trim_start_matches(|c: char| c.is_alphanumeric() || "_-".contains(c)));
    }
    out
}

/// A password may itself hold any of `:/@`, so everything up to the last `@` of the word counts as the user's.
fn hide_uri_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("://");
        let end = part
            .find(|c: char| c.is_whitespace() || "\"'`<>".contains(c))
            .unwrap_or(part.len());
        let (uri, rest) = part.split_at(end);
        match uri
            .rsplit_once('@')
            .map(|(user, host)| (user.split_once(':'), host))
        {
            Some((Some((user, _)), host)) => {
                out.extend([user, ":", HIDDEN, "@", host]);
            }
            Some((None, _)) | None => out.push_str(uri),
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn no_secret_is_left_and_the_rest_stays() {
        let key = "napi_k3y-of_this-client";
        let rows = [
            ("branch not ready yet", "branch not ready yet"),
            ("key napi_k3y-of_this-client refused", "key … refused"),
            ("key napi_another1 refused", "key napi_… refused"),
            (
                "password npg_aB3xYz9, try again",
                "password npg_…, try again",
            ),
            (
                r#"uri "postgresql://app:s3cret@ep-a.neon.tech/db?x=y" is bad"#,
                r#"uri "postgresql://app:…@ep-a.neon.tech/db?x=y" is bad"#,
            ),
            ("postgres://app:a/b:c@d@host/db", "postgres://app:…@host/db"),
            ("postgres://app@host/db", "postgres://app@host/db"),
            (
                "postgres://a:one@h, postgres://b:two@h",
                "postgres://a:…@h, postgres://b:…@h",
            ),
            ("see https://neon.com/docs", "see https://neon.com/docs"),
        ];
        for (text, expected) in rows {
            assert_eq!(redact(text, key), expected);
        }
    }

    #[test]
    fn an_absurdly_short_key_does_not_garble_the_text() {
        assert_eq!(redact("a branch", "a"), "a branch");
        assert_eq!(redact("a branch", ""), "a branch");
    }
}
