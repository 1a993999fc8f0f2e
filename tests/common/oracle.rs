//! What a target told of itself beside what pysample saw of it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Interpreter id and Python thread id.
pub type Key = (i64, u64);

/// A thread, as far as both sides know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What it is called.
    pub name: Option<String>,
    /// The OS thread.
    pub tid: Option<u64>,
    /// Function, file and line; innermost first.
    pub frames: Vec<(String, String, Option<u64>)>,
}

/// Threads by interpreter and id.
pub type Threads = BTreeMap<Key, Thread>;

/// The threads that a target of `tests/programs` told of.
pub fn told(told: &Value) -> Threads {
    threads(told, "ident", "native_id", |frame| (text(&frame[0]), text(&frame[1]), frame[2].as_u64()))
}

/// The threads of a dump.
pub fn seen(dump: &Value) -> Threads {
    threads(dump, "python_thread_id", "os_thread_id", |frame| {
        (text(&frame["function"]), text(&frame["file"]), frame["line"].as_u64())
    })
}

fn threads(value: &Value, id: &str, tid: &str, frame: impl Fn(&Value) -> (String, String, Option<u64>)) -> Threads {
    let mut threads = Threads::new();
    for interpreter in list(&value["interpreters"]) {
        for thread in list(&interpreter["threads"]) {
            let key = (interpreter["id"].as_i64().expect("an id"), thread[id].as_u64().expect("an id"));
            let found = Thread {
                name: thread["name"].as_str().map(str::to_owned),
                tid: thread[tid].as_u64(),
                frames: list(&thread["frames"]).map(&frame).collect(),
            };
            assert!(threads.insert(key, found).is_none(), "thread {key:?} is there twice");
        }
    }
    threads
}

/// What differs, in words; `None` if nothing does. OS threads count where the target told of them.
pub fn difference(told: &Threads, seen: &Threads) -> Option<String> {
    let missing = told.keys().find(|key| !seen.contains_key(key));
    let extra = seen.keys().find(|key| !told.contains_key(key));
    if let Some(key) = missing.or(extra) {
        return Some(format!("thread {key:?} is told: {:?}\nand seen: {:?}", told.get(key), seen.get(key)));
    }
    told.iter()
        .find_map(|(key, told)| thread_difference(told, &seen[key]).map(|what| format!("thread {key:?}: {what}")))
}

fn thread_difference(told: &Thread, seen: &Thread) -> Option<String> {
    if told.name != seen.name || told.tid.is_some() && told.tid != seen.tid {
        return Some(format!("told {:?} {:?}, seen {:?} {:?}", told.name, told.tid, seen.name, seen.tid));
    }
    let (a, b) = (&told.frames, &seen.frames);
    (a != b).then(|| {
        let at = (0..).find(|&i| a.get(i) != b.get(i)).unwrap_or(0);
        let sizes = format!("{} frames told, {} seen", a.len(), b.len());
        format!("{sizes}; frame {at}:\n  told {:?}\n  seen {:?}", a.get(at), b.get(at))
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
