//! What a file of Python code is called by people and by `import`.

/// The name of a file below the longest matching entry of `search_path`, else its last component. Names that are not
/// absolute (`<string>`, `app.py`) stay what they are.
pub fn short_file<'a>(file: &'a str, search_path: &[String]) -> &'a str {
    if !file.starts_with('/') {
        return file;
    }
    let below = |entry: &String| {
        let entry = entry.trim_end_matches('/');
        (!entry.is_empty()).then(|| file.strip_prefix(entry)?.strip_prefix('/')).flatten()
    };
    search_path
        .iter()
        .filter_map(below)
        .filter(|rest| !rest.is_empty())
        .min_by_key(|rest| rest.len())
        .or_else(|| file.rsplit('/').next().filter(|name| !name.is_empty()))
        .unwrap_or(file)
}
