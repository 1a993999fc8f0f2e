//! Patterns for names of threads and of code: one kind, with one meaning, wherever somebody types one.

use std::fmt::{self, Display, Formatter};

/// Text in which `*` stands for any text, `?` for any character and `[abc]` for one of these; `[*]` is a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// What was typed.
    ///
    /// # Errors
    ///
    /// Why it is no pattern.
    pub fn new(text: &str) -> Result<Pattern, String> {
        glob::Pattern::new(text).map(Pattern).map_err(|error| error.msg.into())
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a text is what the pattern says, all of it.
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// Whether it matches code: its qualified function name or the last part of it; its file, or what is left of it after
    /// any `/`; that as the name of a module (`json.decoder`), or the module and the function (`json.decoder.*`).
    pub fn matches_code(&self, function: &str, file: &str) -> bool {
        let last = function.rsplit('.').next().unwrap_or(function);
        self.matches(function) || self.matches(last) || below(file).any(|path| self.matches_file(path, function))
    }

    fn matches_file(&self, path: &str, function: &str) -> bool {
        let in_module = |module: String| self.matches(&module) || self.matches(&format!("{module}.{function}"));
        self.matches(path) || module(path).is_some_and(in_module)
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A path, and what is left of it after each `/`.
fn below(path: &str) -> impl Iterator<Item = &str> {
    let rests = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
    std::iter::once(path).chain(rests).filter(|rest| !rest.is_empty())
}

/// `a/b.py` and `a/b/__init__.py` as `a.b`.
fn module(path: &str) -> Option<String> {
    let path = path.strip_suffix(".py")?;
    Some(path.strip_suffix("/__init__").unwrap_or(path).replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, function: &str, file: &str) -> bool {
        Pattern::new(pattern).unwrap().matches_code(function, file)
    }

    #[test]
    fn code_is_matched_by_function_file_module_and_module_with_function() {
        let file = "/usr/lib/python3.11/concurrent/futures/thread.py";
        for pattern in [
            "Condition.wait",
            "wait",
            "*.wait",
            "w[ab]it",
            "/usr/lib/*",
            "thread.py",
            "futures/thread.py",
            "concurrent.futures.thread",
            "concurrent.*",
            "futures.thread.Condition.wait",
            "concurrent.futures.thread.Condition.*",
        ] {
            assert!(matches(pattern, "Condition.wait", file), "{pattern}");
        }
        for pattern in ["Condition", "wai", "WAIT", "threa", "hread.py", "utures.thread", "/lib/*", "thread.wait"] {
            assert!(!matches(pattern, "Condition.wait", file), "{pattern}");
        }
        assert!(matches("asyncio", "f", "/lib/asyncio/__init__.py") && matches("<string>", "f", "<string>"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        assert!(Pattern::new("[a").is_err());
        assert_eq!(Pattern::new("a*").unwrap().to_string(), "a*");
    }
}
