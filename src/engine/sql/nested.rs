//! The words of a statement, and those of the statements that it holds: in the body of a DO, and in what that executes. Pure.
//!
//! Only what is written is seen: neither what a function does that is called, nor what a statement says that is put together
//! from parts.

use std::ops::Range;

use super::lex::{TokenKind, tokens};

/// How deep constants within constants are looked into.
const DEPTH: usize = 4;

/// Words behind which a body goes on with another statement, if they do not stand in one.
const BEFORE_STATEMENTS: [&str; 4] = ["BEGIN", "THEN", "ELSE", "LOOP"];

/// Words with which begins what stands in front of these.
const STEERS: [&str; 11] = [
    "IF",
    "ELSIF",
    "ELSEIF",
    "ELSE",
    "CASE",
    "WHEN",
    "EXCEPTION",
    "FOR",
    "FOREACH",
    "WHILE",
    "DECLARE",
];

/// A statement as words: key words and plain names in upper case, everything else as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) words: Vec<String>,
    /// Whether it stands in a body, not in the file itself.
    pub(crate) is_nested: bool,
    /// Bytes of the statement around it: its own, or those of the constant in which it is.
    pub(crate) range: Range<usize>,
}

impl Part {
    /// The words to be matched.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Whether a statement begins with one of these letters: cheap to ask before its words are read.
pub(crate) fn begins_with_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        let first = text.get(..word.len());
        first.is_some_and(|first| first.eq_ignore_ascii_case(word))
    })
}

/// The statement that is `text`, and behind it those within, in the order in which they are written.
pub(crate) fn parts(text: &str) -> Vec<Part> {
    let mut reader = Reader {
        depth: 0,
        place: Place::At(0),
        all: Vec::new(),
    };
    reader.read(text);
    reader.all
}

/// Where the text that is read stands in the statement around it.
#[derive(Debug, Clone)]
enum Place {
    /// It begins at this byte.
    At(usize),
    /// Somewhere in a constant, in which it is written otherwise.
    Within(Range<usize>),
}

impl Place {
    fn of(&self, range: &Range<usize>) -> Range<usize> {
        match self {
            Self::At(start) => start + range.start..start + range.end,
            Self::Within(constant) => constant.clone(),
        }
    }
}

struct Reader {
    depth: usize,
    place: Place,
    all: Vec<Part>,
}

/// A word, and its bytes of the text that is read.
type Word = (String, Range<usize>);

impl Reader {
    fn read(&mut self, text: &str) {
        let mut words: Vec<Word> = Vec::new();
        for token in tokens(text).iter().filter(|token| token.is_significant()) {
            let written = token.text(text);
            let word = if token.kind == TokenKind::Word {
                written.to_ascii_uppercase()
            } else {
                written.to_owned()
            };
            let first = words.first().map(|(first, _)| first.as_str());
            let steers = first.is_none_or(|first| STEERS.contains(&first) || first == "<");
            let goes_on = self.depth > 0 && steers && BEFORE_STATEMENTS.contains(&word.as_str());
            if token.kind == TokenKind::Semicolon || goes_on {
                self.finish(std::mem::take(&mut words));
            } else {
                words.push((word, token.range.clone()));
            }
        }
        self.finish(words);
    }

    fn finish(&mut self, words: Vec<Word>) {
        let (Some((first, start)), Some((_, end))) = (words.first(), words.last()) else {
            return;
        };
        let runs_text = first == "DO" || (first == "EXECUTE" && self.depth > 0);
        let range = self.place.of(&(start.start..end.end));
        let inside: Vec<(String, Place)> = if runs_text && self.depth < DEPTH {
            let constants = words.iter();
            constants.filter_map(|word| self.inside(word)).collect()
        } else {
            Vec::new()
        };
        self.all.push(Part {
            words: words.into_iter().map(|(word, _)| word).collect(),
            is_nested: self.depth > 0,
            range,
        });
        for (text, place) in inside {
            let outer = std::mem::replace(&mut self.place, place);
            self.depth += 1;
            self.read(&text);
            self.depth -= 1;
            self.place = outer;
        }
    }

    /// What a constant says, and where that stands.
    fn inside(&self, (word, range): &Word) -> Option<(String, Place)> {
        let text = value(word)?;
        let place = match (&self.place, word.find(&text)) {
            // as it is written, without anything that stands for something else
            (Place::At(start), Some(at)) => Place::At(start + range.start + at),
            (place, _) => Place::Within(place.of(range)),
        };
        Some((text, place))
    }
}

/// What a constant says; none where `written` is no constant.
pub(crate) fn value(written: &str) -> Option<String> {
    if let Some(rest) = written.strip_prefix('$') {
        let tag = rest.find('$')? + 2;
        let end = written.len().checked_sub(tag)?;
        return written.get(tag..end).map(str::to_owned);
    }
    let is_quoted = written.ends_with('\'') && !written.starts_with('"');
    let (_, inside) = written.split_once('\'').filter(|_| is_quoted)?;
    let inside = inside.strip_suffix('\'')?;
    Some(inside.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_within_statements_are_found() {
        let text = "DO $x$ DECLARE a int; BEGIN IF a = 1 THEN DROP TABLE T; ELSE EXECUTE 'DROP TABLE ''it''; x'; END IF; END $x$;";
        let all = parts(text);
        let said: Vec<String> = all
            .iter()
            .skip(1)
            .map(|part| part.words.join(" "))
            .collect();
        assert_eq!(
            said,
            [
                "DECLARE A INT",
                "IF A = 1",
                "DROP TABLE T",
                "EXECUTE 'DROP TABLE ''it''; x'",
                "DROP TABLE 'it'",
                "X",
                "END IF",
                "END"
            ]
        );
        assert!(all.iter().skip(1).all(|part| part.is_nested));
        let shown = |at: usize| text.get(all[at].range.clone()).unwrap();
        assert_eq!(shown(3), "DROP TABLE T");
        // in a constant that is written otherwise, all of it is meant
        assert_eq!(shown(5), "'DROP TABLE ''it''; x'");
        let whole = "DO $$ BEGIN UPDATE t SET a = CASE WHEN b THEN 1 ELSE 2 END WHERE c; END $$";
        assert_eq!(parts(whole).len(), 3);
        assert_eq!(parts("SELECT 'DROP TABLE t;'").len(), 1);
        assert_eq!(parts(";"), []);
    }

    #[test]
    fn constants_have_values() {
        for (written, expected) in [
            ("'it''s'", Some("it's")),
            ("E'a'", Some("a")),
            ("$$b$$", Some("b")),
            ("$t$c$t$", Some("c")),
            ("''", Some("")),
            ("\"d'\"", None),
            ("word", None),
            ("$1", None),
        ] {
            assert_eq!(value(written).as_deref(), expected, "{written}");
        }
    }
}
