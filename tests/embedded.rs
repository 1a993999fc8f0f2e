//! Programs that hold a Python and are not called so: found by content. `tests/embedded/collect` makes them.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::recording::Recording;
use common::wait_until;
use serde_json::Value;

/// A program under way. It is killed when this is dropped.
struct Running {
    child: Child,
    /// The process that has Python mapped.
    python: u32,
    /// Where it goes on to write.
    _stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a program and waits until it says that it is ready. `is_child` says that Python runs in its child.
    fn start(mut command: Command, is_child: bool) -> Running {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.ends_with("ready\n") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "{command:?} ended without being ready");
        }
        let python = if is_child { child_of(child.id()) } else { child.id() };
        Running { child, python, _stdout: stdout }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        // One that unpacked itself leaves its child behind; that ends as its standard input is closed.
        let path = format!("/proc/{}", self.python);
        wait_until("its child has ended", || !Path::new(&path).exists());
    }
}

fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().expect("it has a child").parse().unwrap()
}

fn made(name: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| variable("HOME").expect("there is a home").join(".cache"));
    let path = cache.join("pysample/embedded").join(name);
    assert!(path.exists(), "there is no {}; tests/embedded/collect makes it", path.display());
    path
}

/// Read in all ways that people do, and listed; its busy function is seen.
fn assert_reads(running: &Running, function: &str) {
    let pid = running.python;
    let dump = common::dump(pid);
    let frames = dump.to_string();
    assert!(frames.contains(&format!("\"{function}\"")), "{dump:#}");
    let recorded = Recording::start(pid, &["-r", "500", "-d", "0.5"]).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.profile.contains(function), "{}\n{}", recorded.told, recorded.profile);
    let listed: Value = serde_json::from_str(&common::printed(&["ps", "--json"])).unwrap();
    assert!(listed["processes"].as_array().unwrap().iter().any(|process| process["pid"] == pid), "{listed:#}");
}

#[test]
fn pyinstallers_folder_is_read() {
    let running = Running::start(Command::new(made("one-folder/one-folder")), false);
    // From its version 6 on the program may start itself again.
    assert_reads(&running, "busy_with_orders");
}

/// Of two processes with one name only the child has a Python.
#[test]
fn pyinstallers_single_file_is_read_and_its_first_process_is_not_python() {
    let running = Running::start(Command::new(made("one-file")), true);
    assert_reads(&running, "busy_with_orders");
    let output = common::pysample(&["dump", "--pid", &running.child.id().to_string()]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cx_freeze_makes_is_read() {
    assert_reads(&Running::start(Command::new(made("cx-freeze/frozen")), false), "busy_with_orders");
}

/// Its functions are C that links frames of its own into the chain; what line they are at is not in those.
#[test]
fn what_nuitka_compiles_is_read_whole() {
    let running = Running::start(Command::new(made("compiled")), false);
    assert_reads(&running, "busy_with_orders");
    let recorded = Recording::start(running.python, &["-r", "500", "-d", "0.5"]).end();
    for (stack, _) in recorded.stacks() {
        let functions: Vec<&str> = stack.split(';').map(|frame| frame.split(" (").next().unwrap()).collect();
        assert_eq!(functions[..3], ["<module>", "main", "busy_with_orders"], "{stack}");
        let within = ["add_up", "Thread.is_alive"];
        assert!(functions.get(3).is_none_or(|function| within.contains(function)), "{stack}");
    }
    assert!(recorded.account.taken > 0 && recorded.account.unreadable == 0, "{}", recorded.told);
}

#[test]
fn uwsgi_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // It has standard output go where standard error goes.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(made("tools/bin/uwsgi"));
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedded");
    command.args(["--socket"]).arg(folder.path().join("socket")).args(["--enable-threads", "--wsgi-file"]);
    command.arg(programs.join("wsgi.py")).arg("--pythonpath").arg(programs).env("PYTHONDONTWRITEBYTECODE", "1");
    assert_reads(&Running::start(command, false), "busy_with_orders");
}

/// Debian's, which is stripped and links libpython.
#[test]
fn gdb_is_read() {
    let script =
        "def busy_with_orders():\n while True: sum(range(1000))\nprint('ready', flush=True)\nbusy_with_orders()";
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex"]).arg(format!("python exec({script:?})"));
    assert_reads(&Running::start(command, false), "busy_with_orders");
}

/// Starts the Python of the library that is named first in a second thread, and runs a program in it.
const IN_SECOND_THREAD: &str = r#"
#include <dlfcn.h>
#include <pthread.h>
static void *library;
static void *run(void *program) {
    ((void (*)(void))dlsym(library, "Py_Initialize"))();
    ((int (*)(const char *, void *))dlsym(library, "PyRun_SimpleStringFlags"))(program, 0);
    return 0;
}
int main(int count, char **words) {
    pthread_t thread;
    library = dlopen(words[1], RTLD_NOW | RTLD_GLOBAL);
    return count != 3 || !library || pthread_create(&thread, 0, run, words[2]) || pthread_join(thread, 0);
}
"#;

/// As servers do that hold a Python among other things.
#[test]
fn the_main_thread_is_what_python_calls_so_where_it_is_not_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("host.c"), folder.path().join("host"));
    fs::write(&source, IN_SECOND_THREAD).unwrap();
    let compiled = Command::new("cc").arg(&source).arg("-o").arg(&program).args(["-ldl", "-lpthread"]).status();
    assert!(compiled.unwrap().success());
    let library = &common::ordinary().elf;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedded/app.py");
    let mut command = Command::new(program);
    command.arg(library).arg(fs::read_to_string(script).unwrap());
    command.env("PYTHONHOME", library.ancestors().nth(2).expect("it lies in a folder lib"));
    let running = Running::start(command, false);
    let pid = running.python.to_string();
    let dump: Value =
        serde_json::from_str(&common::printed(&["dump", "--json", "--main-thread", "--pid", &pid])).unwrap();
    let threads = dump["interpreters"][0]["threads"].as_array().unwrap();
    assert_eq!((threads.len(), &dump["left_out"]), (1, &1.into()), "{dump:#}");
    assert_eq!(threads[0]["name"], "MainThread");
    assert_ne!(threads[0]["os_thread_id"], running.python, "it is the second of the process");
    let recorded = Recording::start(running.python, &["-i", "-r", "200", "-d", "1", "--main-thread"]).end();
    assert!(
        recorded.profile.contains("busy_with_orders") && !recorded.profile.contains("read_to_the_end"),
        "{}",
        recorded.profile
    );
}

/// Against the schemas of Kubernetes: what is not in them is an error.
#[test]
fn the_examples_for_kubernetes_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    let manifests = common::names(&folder);
    let whole: Vec<PathBuf> = manifests
        .iter()
        .filter(|name| name.ends_with(".yaml") && *name != "debug-container.yaml")
        .map(|name| folder.join(name))
        .collect();
    assert_eq!(whole.len(), 3, "{manifests:?}");
    let validate = |files: &[PathBuf]| {
        let mut command = Command::new(made("tools/bin/kubernetes-validate"));
        let output = command.args(["--strict"]).args(files).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_valid, told) = validate(&whole);
    assert!(is_valid, "{told}");

    // The custom profile is a part of a container: it is put into one.
    let scratch = tempfile::tempdir().unwrap();
    let profile = fs::read_to_string(folder.join("debug-container.yaml")).unwrap();
    let pod = |container: &str| {
        let indented: String = container.lines().map(|line| format!("      {line}\n")).collect();
        let head =
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec:\n  containers:\n    - name: x\n      image: x\n";
        let path = scratch.path().join("pod.yaml");
        fs::write(&path, format!("{head}{indented}")).unwrap();
        validate(&[path])
    };
    let (is_valid, told) = pod(&profile);
    assert!(is_valid, "{told}");
    assert!(!pod("securityContexts: {}").0, "what is misspelt is refused");
}

/// What a cluster would tell, as far as it can be told without one.
#[test]
fn the_examples_for_kubernetes_work_where_pods_and_nodes_have_rules_of_their_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = read("README.md").replace("\\\n", " ");
    let redirected: Vec<&str> =
        told.lines().filter(|line| line.starts_with("kubectl") && line.contains("> ")).collect();
    assert_eq!(redirected.len(), 2, "{redirected:?}");
    for line in redirected.iter().filter(|line| line.starts_with("kubectl debug")) {
        assert!(line.contains(" -q "), "kubectl's own words would be in the file: {line}");
    }
    assert!(!told.contains("> /dev/shm"), "nothing can be run from there in a container");
    for name in ["daemonset.yaml", "debug-container.yaml"] {
        let manifest = words(&read(name));
        assert!(manifest.contains("appArmorProfile: type: Unconfined"), "{name}");
        assert!(manifest.contains("runAsUser: 0"), "{name}: only root gets the capability");
    }
    assert!(words(&read("debug-container.yaml")).contains("runAsNonRoot: false"), "the pod may say otherwise");
}
