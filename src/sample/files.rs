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

/// The module that a file is, as `import` calls it: `json.decoder`.
pub fn module(file: &str, search_path: &[String]) -> String {
    let name = short_file(file, search_path);
    let name = name.strip_suffix(".py").unwrap_or(name);
    name.strip_suffix("/__init__").unwrap_or(name).replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_its_file_below_the_search_path() {
        let path = ["/usr/lib/python3.11".to_owned()];
        assert_eq!(module("/usr/lib/python3.11/json/decoder.py", &path), "json.decoder");
        assert_eq!(module("/usr/lib/python3.11/json/__init__.py", &path), "json");
        assert_eq!(module("/srv/app.py", &path), "app");
        assert_eq!(module("<string>", &path), "<string>");
    }
}
