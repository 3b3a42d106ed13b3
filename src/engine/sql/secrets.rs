//! Passwords that stand in a file: in statements, in the bodies and constants inside of these, in connection strings and URLs. Pure.
//!
//! | what | where |
//! |---|---|
//! | `PASSWORD '…'` | of a role or in OPTIONS, also in a body, and in a constant that holds SQL |
//! | `scheme://user:…@host`, `postgresql://host?password=…` | in any constant |
//! | `password=…` | in a constant with other keywords of a connection, or where another server is spoken of |
//!
//! What is filled in later is no password: `%L` of format(), and a constant that ends where the password would begin.

use std::ops::Range;

use super::lex::{Token, TokenKind, tokens};

/// How deep constants within constants are looked into.
const DEPTH: usize = 4;

/// Words that a password is put behind, as a keyword of a connection.
const KEYWORD: &str = "password=";

/// A password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Password {
    /// Bytes of the file: the password, and what says that it is one; or the constant in which it is.
    pub(crate) range: Range<usize>,
    /// Whether another server takes it, not a role of this one.
    pub(crate) is_foreign: bool,
}

/// All passwords of a file. `tokens` are those of `text`.
pub(crate) fn passwords(text: &str, tokens: &[Token]) -> Vec<Password> {
    look(text, tokens, DEPTH)
}

fn look(text: &str, all: &[Token], depth: usize) -> Vec<Password> {
    let mut found = Vec::new();
    let mut is_foreign = false;
    let mut significant = all.iter().filter(|token| token.is_significant()).peekable();
    while let Some(token) = significant.next() {
        match token.kind {
            TokenKind::Semicolon => is_foreign = false,
            TokenKind::Word => {
                is_foreign |= speaks_of_servers(token.text(text));
                if !token.is_word(text, "password") {
                    continue;
                }
                let secret = significant.next_if(|next| next.is_constant());
                let secret = secret.filter(|secret| !is_filled_in(&value(secret.text(text))));
                found.extend(secret.map(|secret| Password {
                    range: token.range.start..secret.range.end,
                    is_foreign,
                }));
            }
            TokenKind::Text | TokenKind::DollarText => {
                found.extend(inside(text, token, is_foreign, depth));
            }
            TokenKind::Space
            | TokenKind::Comment
            | TokenKind::QuotedName
            | TokenKind::Number
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Backslash
            | TokenKind::Other => {}
        }
    }
    found
}

/// The passwords in a constant.
fn inside(text: &str, token: &Token, is_foreign: bool, depth: usize) -> Vec<Password> {
    let constant = token.text(text);
    // most constants of a file are data
    if !constant.contains("://") && !mentions_password(constant) {
        return Vec::new();
    }
    let value = value(constant);
    let is_body = token.kind == TokenKind::DollarText && value.contains('\n');
    if !is_body && (!in_urls(&value).is_empty() || connects(&value, is_foreign)) {
        return vec![Password {
            range: token.range.clone(),
            is_foreign: true,
        }];
    }
    let Some(deeper) = depth.checked_sub(1) else {
        return Vec::new();
    };
    let nested = look(&value, &tokens(&value), deeper);
    if token.kind == TokenKind::DollarText {
        let start = token.range.start + constant.find(value.as_str()).unwrap_or_default();
        let shifted = nested.into_iter().map(|password| Password {
            range: password.range.start + start..password.range.end + start,
            ..password
        });
        return shifted.collect();
    }
    // places within a constant are not those of the file where it has quotes in it
    let whole = nested.into_iter().take(1).map(|password| Password {
        range: token.range.clone(),
        ..password
    });
    whole.collect()
}

/// Whether a constant has something to do with passwords, or holds one.
fn speaks_of_secrets(constant: &str) -> bool {
    mentions_password(constant) || (constant.contains("://") && !in_urls(constant).is_empty())
}

/// Whether a statement with this token may hold a secret.
pub(super) fn tells(text: &str, token: &Token) -> bool {
    if token.is_constant() {
        return speaks_of_secrets(token.text(text));
    }
    token.kind == TokenKind::Word && is_telling(token.text(text))
}

/// Whether a statement with this word, written without quotes, may hold a secret in its constants.
pub(super) fn is_telling(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let words = [
        "connection",
        "conninfo",
        "identified",
        "mapping",
        "pwd",
        "server",
        "subscription",
        "wrapper",
    ];
    words.contains(&word.as_str()) || word.contains("passw") || is_dblink(&word)
}

/// Whether a word is the name of one of the functions that take connection strings.
fn is_dblink(word: &str) -> bool {
    let head = word.get(.."dblink".len());
    head.is_some_and(|head| head.eq_ignore_ascii_case("dblink"))
}

fn speaks_of_servers(word: &str) -> bool {
    let words = ["subscription", "mapping", "server"];
    is_dblink(word) || words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// The passwords in URLs and connection strings of a text that need not be SQL.
pub(super) fn in_words(text: &str) -> Vec<Range<usize>> {
    let keywords = text.match_indices(KEYWORD).filter_map(|(at, keyword)| {
        let start = at + keyword.len();
        let rest = text.get(start..)?;
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let start = start + quote.map_or(0, char::len_utf8);
        let is_end = |c: char| match quote {
            Some(quote) => c == quote,
            None => c.is_whitespace() || matches!(c, '\'' | '"' | '&' | ';' | ',' | ')'),
        };
        let rest = text.get(start..)?;
        let length = rest.find(is_end).unwrap_or(rest.len());
        (length > 0).then_some(start..start + length)
    });
    let mut all: Vec<Range<usize>> = keywords.chain(in_urls(text)).collect();
    all.sort_by_key(|range| range.start);
    all
}

/// Whether a text speaks of passwords.
pub(super) fn mentions_password(text: &str) -> bool {
    let word = b"password";
    let mut windows = text.as_bytes().windows(word.len());
    windows.any(|window| window.eq_ignore_ascii_case(word))
}

/// The passwords of URLs.
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let one = |(at, sign): (usize, &str)| {
        let start = at + sign.len();
        let rest = text.get(start..)?;
        let is_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '<' | '>');
        let url = rest.get(..rest.find(is_end).unwrap_or(rest.len()))?;
        let authority = url.split(['/', '?', '#']).next()?;
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((name, password)) = user.split_once(':')
        {
            let from = start + name.len() + 1;
            return (!is_filled_in(password)).then_some(from..from + password.len());
        }
        let is_ours =
            text.get(..at)?.ends_with("postgresql") || text.get(..at)?.ends_with("postgres");
        let keyword = url.find(KEYWORD).filter(|_| is_ours)? + KEYWORD.len();
        let password = url.get(keyword..)?.split('&').next()?;
        let from = start + keyword;
        (!is_filled_in(password)).then_some(from..from + password.len())
    };
    text.match_indices("://").filter_map(one).collect()
}

/// Whether this is a connection string with a password.
fn connects(value: &str, is_foreign: bool) -> bool {
    let starts = |keyword: &str| value.contains(keyword);
    if !is_foreign
        && !["host=", "hostaddr=", "dbname=", "user="]
            .into_iter()
            .any(starts)
    {
        return false;
    }
    value.match_indices("password").any(|(at, word)| {
        let rest = value.get(at + word.len()..).unwrap_or_default();
        let Some(rest) = rest.trim_start().strip_prefix('=') else {
            return false;
        };
        let rest = rest.trim_start();
        let password = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').map(|(password, _)| password),
            None => rest.split_whitespace().next(),
        };
        password.is_some_and(|password| !is_filled_in(password))
    })
}

/// Whether a constant says how to connect to a server.
pub(super) fn is_string(value: &str) -> bool {
    !value.contains('\n') && (value.contains('=') || value.contains("://"))
}

/// What a constant says, as far as it matters here.
pub(super) fn value(constant: &str) -> String {
    if let Some(rest) = constant.strip_prefix('$') {
        let tag = rest.find('$').map_or(0, |at| at + 2);
        let inside = constant.get(tag..constant.len().saturating_sub(tag));
        return inside.unwrap_or_default().to_owned();
    }
    let inside = constant.split_once('\'').map_or("", |(_, inside)| inside);
    let inside = inside.strip_suffix('\'').unwrap_or(inside);
    inside.replace("''", "'").replace("\\'", "'")
}

/// Whether nothing stands there, or what stands for something: of format(), or of whoever wrote an example.
fn is_filled_in(password: &str) -> bool {
    let spec = password
        .strip_prefix('%')
        .map(|spec| spec.trim_end_matches(['s', 'L', 'I']));
    let is_spec = spec.is_some_and(|spec| {
        spec.chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '$' | '-' | '*'))
    });
    is_spec
        || password.starts_with('<')
        || password.starts_with("${")
        || password.chars().all(|c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sql: &str) -> Vec<(String, bool)> {
        let found = passwords(sql, &tokens(sql)).into_iter();
        found
            .map(|p| (sql[p.range].to_owned(), p.is_foreign))
            .collect()
    }

    #[test]
    fn passwords_are_found_wherever_they_stand() {
        for (sql, secret, is_foreign) in [
            ("CREATE ROLE a LOGIN PASSWORD 'x';", "PASSWORD 'x'", false),
            ("ALTER ROLE a PASSWORD $$x$$;", "PASSWORD $$x$$", false),
            (
                "DO $$ BEGIN CREATE ROLE a PASSWORD 'x'; END $$;",
                "PASSWORD 'x'",
                false,
            ),
            (
                "DO $d$\nBEGIN\n  CREATE ROLE ü PASSWORD 'x';\nEND $d$;",
                "PASSWORD 'x'",
                false,
            ),
            (
                "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''x'''; END $$;",
                "'ALTER ROLE a PASSWORD ''x'''",
                false,
            ),
            (
                "DO $$ BEGIN EXECUTE $e$ALTER ROLE a PASSWORD 'x'$e$; END $$;",
                "PASSWORD 'x'",
                false,
            ),
            (
                "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'a', password 'x');",
                "password 'x'",
                true,
            ),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'password=x' PUBLICATION p;",
                "'password=x'",
                true,
            ),
            (
                "SELECT dblink_exec('password = ''x y''', 'SELECT 1');",
                "'password = ''x y'''",
                true,
            ),
            (
                "SELECT connect(E'host=h password=\\'x\\'');",
                "E'host=h password=\\'x\\''",
                true,
            ),
            (
                "INSERT INTO t VALUES ('amqp://u:x@h/v');",
                "'amqp://u:x@h/v'",
                true,
            ),
            (
                "SELECT f($$postgresql://u:x@h/d$$);",
                "$$postgresql://u:x@h/d$$",
                true,
            ),
            (
                "SELECT f('postgres://h/d?user=u&password=x');",
                "'postgres://h/d?user=u&password=x'",
                true,
            ),
            (
                "DO $$\nBEGIN PERFORM f('redis://:x@h'); END $$;",
                "'redis://:x@h'",
                true,
            ),
        ] {
            assert_eq!(told(sql), [(secret.to_owned(), is_foreign)], "{sql}");
        }
    }

    #[test]
    fn what_is_no_password_is_not_told() {
        for sql in [
            "ALTER ROLE a PASSWORD NULL;",
            "ALTER ROLE a PASSWORD '';",
            "INSERT INTO password VALUES ('x');",
            "COMMENT ON COLUMN u.password IS 'its hash';",
            "DO $$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', pw); END $$;",
            "DO $$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD ''%2$s''', a, pw); END $$;",
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''' || pw || ''''; END $$;",
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ' || quote_literal(pw); END $$;",
            "DO $$ BEGIN RAISE 'the password % is wrong', pw; END $$;",
            "SELECT dblink_connect('host=h password=' || pw);",
            "SELECT dblink_connect(format('host=h password=%L', pw));",
            "INSERT INTO t VALUES ('https://h/reset?password=forgotten', 'a password=x');",
            "INSERT INTO t VALUES ('https://h/@a:b', 'ssh://git@h:22/x', 'http://h:80', 'a:b@c');",
            "COMMENT ON TABLE t IS 'postgresql://user:<password>@h, redis://:***@h';",
            "-- postgresql://u:x@h\nSELECT 1;",
        ] {
            assert_eq!(told(sql), [], "{sql}");
        }
    }

    #[test]
    fn constants_within_constants_come_to_an_end() {
        let mut sql = "ALTER ROLE a PASSWORD 'x'".to_owned();
        for depth in 0..12 {
            sql = format!("DO $d{depth}$ {sql} $d{depth}$");
        }
        assert_eq!(told(&sql), []);
    }

    #[test]
    fn words_that_are_not_sql_have_passwords_too() {
        for (text, secrets) in [
            ("\\connect postgresql://u:x@h/d", vec!["x"]),
            ("-- host=h password=x;", vec!["x"]),
            ("-- password='x y' host=h", vec!["x y"]),
            ("a://u:x@h b://v:y@h password=z", vec!["x", "y", "z"]),
            ("postgres://h?password=x&a=b", vec!["x", "x"]),
            ("password = x", vec![]),
        ] {
            let found: Vec<&str> = in_words(text).into_iter().map(|r| &text[r]).collect();
            assert_eq!(found, secrets, "{text}");
        }
    }
}
