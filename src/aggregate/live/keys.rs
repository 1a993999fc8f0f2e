//! What frames are put together by: their line, function, file or module.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::sample::{Code, Frame, FrameId};

/// What frames are put together by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// The function.
    #[default]
    Function,
    /// The line that ran.
    Line,
    /// The file.
    File,
    /// The outermost module that the file belongs to: `json` for `json/encoder.py`.
    Module,
}

impl Level {
    /// Every one, in the order in which they are gone through.
    pub const ALL: [Level; 4] = [Level::Function, Level::Line, Level::File, Level::Module];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Level::Function => "function",
            Level::Line => "line",
            Level::File => "file",
            Level::Module => "module",
        }
    }
}

/// Something that frames are put together by, as an index for its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// What a file is called, given what the target's `sys.path` was seen to have.
pub type Shorten = fn(&str, &[String]) -> String;

/// Something that frames are put together by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The function; empty for a file or a module.
    pub function: Arc<str>,
    /// The file, as the target spells it; empty for a module.
    pub path: Arc<str>,
    /// The line: the one that ran, or the function's first.
    pub line: Option<u32>,
}

/// Every key, of every level.
#[derive(Clone, Debug)]
pub struct Keys {
    shorten: Shorten,
    search_path: Vec<String>,
    tables: [Table; 4],
    short: FxHashMap<Arc<str>, Arc<str>>,
    /// The code object of each frame, for when modules have to be found anew.
    paths: Vec<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    by_frame: Vec<KeyId>,
    ids: FxHashMap<Key, KeyId>,
    keys: Vec<Key>,
}

impl Keys {
    /// None yet.
    pub fn new(shorten: Shorten) -> Keys {
        Keys {
            shorten,
            search_path: Vec::new(),
            tables: Default::default(),
            short: FxHashMap::default(),
            paths: Vec::new(),
        }
    }

    /// Takes the next frame; they come in the order of their ids.
    pub(super) fn add(&mut self, frame: &Frame, code: &Code) {
        if !self.short.contains_key(&code.file) {
            let short = (self.shorten)(&code.file, &self.search_path).into();
            self.short.insert(code.file.clone(), short);
        }
        for level in Level::ALL {
            let key = self.key_of(level, frame, code);
            self.tables[level as usize].add(key);
        }
        self.paths.push(code.file.clone());
    }

    /// Takes what `sys.path` was seen to have: files are called anew.
    pub(super) fn set_search_path(&mut self, search_path: Vec<String>) {
        self.search_path = search_path;
        for (path, short) in &mut self.short {
            *short = (self.shorten)(path, &self.search_path).into();
        }
        let mut modules = Table::default();
        for path in &self.paths {
            modules.add(module(&self.short[path]));
        }
        self.tables[Level::Module as usize] = modules;
    }

    fn key_of(&self, level: Level, frame: &Frame, code: &Code) -> Key {
        let (function, path) = (code.function.clone(), code.file.clone());
        match level {
            Level::Function => Key { function, path, line: Some(code.first_line) },
            Level::Line => Key { function, path, line: frame.line },
            Level::File => Key { function: "".into(), path, line: None },
            Level::Module => module(&self.short[&code.file]),
        }
    }

    /// What a frame belongs to; `None` for one that is not known.
    pub fn of(&self, level: Level, frame: FrameId) -> Option<KeyId> {
        self.tables[level as usize].by_frame.get(frame.index()).copied()
    }

    /// A key.
    pub fn key(&self, level: Level, id: KeyId) -> Option<&Key> {
        self.tables[level as usize].keys.get(id.0 as usize)
    }

    /// How many there are.
    pub fn count(&self, level: Level) -> usize {
        self.tables[level as usize].keys.len()
    }

    /// What a file is called.
    pub fn short<'a>(&'a self, path: &'a str) -> &'a str {
        self.short.get(path).map_or(path, |short| short)
    }
}

impl Table {
    fn add(&mut self, key: Key) {
        let next = KeyId(self.keys.len() as u32);
        let id = *self.ids.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        });
        self.by_frame.push(id);
    }
}

/// The outermost module of a file that is called so below `sys.path`.
fn module(short: &str) -> Key {
    let first = short.trim_start_matches('/').split('/').next().unwrap_or(short);
    let name = first.strip_suffix(".py").unwrap_or(first);
    Key { function: name.into(), path: "".into(), line: None }
}
