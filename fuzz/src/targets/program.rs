//! The program of a container: if `create` refuses it, the kernel must refuse it with the same
//! errno.
//!
//! Input is the content of `/program` in a root directory that contains interpreters of several
//! kinds.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use sampan::error::errno_text;
use sampan::plan::{self, Plan};
use sampan::run::fuzzing::{check_found, explain};
use sampan::spec;

use super::{BUNDLE, scenarios};
use crate::case::Case;
use crate::{Form, Target, check_error, scratch};

mod kernel;

/// See the module.
pub const TARGET: Target = Target {
    name: "program",
    run,
    seeds,
    form: Form::Bytes,
    words: "#! #!/bin/sh #!/loop #!/chain4 #!/chain5 #!/missing #!/plain #!/directory /bin/sh
            /lib64/ld-linux-x86-64.so.2 /missing/ld.so ./program /directory -x",
    longest: 1 << 10,
    changes: 4_000,
};

/// An ELF file for `machine`: a 64-bit or 32-bit header and, with a loader, a PT_INTERP.
fn elf(wide: bool, machine: u8, loader: Option<&str>) -> Vec<u8> {
    let (header, entry) = if wide { (64, 56) } else { (52, 32) };
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out[4] = if wide { 2 } else { 1 };
    out.resize(16, 0);
    // ET_EXEC, the machine, version 1.
    out.extend([2, 0, machine, 0, 1, 0, 0, 0]);
    let word = |out: &mut Vec<u8>, value: usize| {
        out.extend((value as u64).to_le_bytes());
        out.truncate(out.len() - if wide { 0 } else { 4 });
    };
    // The entry point, and the tables of programs and sections.
    word(&mut out, 0x40_0000);
    word(&mut out, header);
    word(&mut out, 0);
    out.extend([0; 4]);
    for half in [header, entry, usize::from(loader.is_some()), 64, 0, 0] {
        out.extend((half as u16).to_le_bytes());
    }
    let Some(loader) = loader else { return out };
    let (at, length) = (header + entry, loader.len() + 1);
    let start = out.len();
    out.extend([3, 0, 0, 0]);
    if wide {
        out.extend([4, 0, 0, 0]);
    }
    word(&mut out, at);
    word(&mut out, 0);
    word(&mut out, 0);
    word(&mut out, length);
    out.resize(start + entry, 0);
    out.extend(loader.bytes());
    out.push(0);
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let loader = Some("/lib64/ld-linux-x86-64.so.2");
    let mut seeds = vec![
        elf(true, 62, None),
        elf(true, 62, loader),
        elf(true, 62, Some("/missing/ld.so")),
        elf(false, 3, loader),
        elf(true, 183, loader),
    ];
    let scripts = [
        "#!/bin/sh\n",
        "#! /bin/sh -x\necho\n",
        "#!/missing\n",
        "#!/bin/sh\r\n",
        "#!/loop\n",
        "#!/chain4\n",
        "#!/chain5\n",
        "#!\n",
        "#!/plain",
        "#!/directory\n",
        "#!program\n",
        "echo\n",
        "",
    ];
    seeds.extend(scripts.map(|script| script.as_bytes().to_vec()));
    seeds.push([b"#!/", "a".repeat(300).as_bytes(), b"\n"].concat());
    seeds
}

/// The container.
struct Container {
    path: PathBuf,
    root: File,
    plan: Plan,
}

fn container() -> &'static Container {
    static CONTAINER: OnceLock<Container> = OnceLock::new();
    CONTAINER.get_or_init(|| {
        let path = scratch::directory("root");
        for directory in ["bin", "lib64", "directory"] {
            fs::create_dir_all(path.join(directory)).expect("a directory");
        }
        let put = |name: &str, content: &[u8], mode: u32| {
            let file = path.join(name);
            fs::write(&file, content).expect("a file");
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
        };
        put("bin/sh", &elf(true, 62, None), 0o755);
        put("lib64/ld-linux-x86-64.so.2", &elf(true, 62, None), 0o755);
        put("plain", b"text", 0o644);
        put("loop", b"#!/loop\n", 0o755);
        put("chain1", b"#!/bin/sh\n", 0o755);
        for number in 2..=5 {
            let script = format!("#!/chain{}\n", number - 1);
            put(&format!("chain{number}"), script.as_bytes(), 0o755);
        }
        put("program", b"", 0o755);
        let root = File::open(&path).expect("the root directory");
        let plan = plan();
        Container { path, root, plan }
    })
}

fn plan() -> Plan {
    let case = Case::all().into_iter().find(|case| case.name == "minimal");
    let mut config = case.expect("the minimal case").config;
    config["process"] = serde_json::json!({
        "cwd": "/", "args": ["/program"], "user": {"uid": 0, "gid": 0}
    });
    let config = spec::config(config.to_string().as_bytes(), Path::new(BUNDLE));
    let scenario = &scenarios()[0];
    plan::build(
        &config.expect("a config"),
        &scenario.host,
        &scenario.options,
    )
    .expect("a plan")
}

fn run(data: &[u8]) {
    let container = container();
    let program = container.path.join("program");
    fs::write(&program, data).expect("write below TMPDIR");
    let root = container.root.as_fd();
    for errno in [Errno::ENOENT, Errno::EACCES, Errno::ENOEXEC, Errno::ELOOP] {
        check_error(&explain(&container.plan, errno, root));
    }
    let Err(error) = check_found(&container.plan, 0, root) else {
        return;
    };
    check_error(&error);
    let text = error.to_string();
    assert!(text.starts_with("exec: \"/program\": "), "{text}");
    let name = CString::new("/program").expect("no NUL");
    match kernel::execve(&container.path, &name) {
        kernel::Answer::Unasked => {}
        kernel::Answer::Executes => panic!("the kernel executes it: {text}"),
        kernel::Answer::Refuses(errno) => {
            let words = errno_text(errno);
            assert!(text.contains(&words), "the kernel says {words}: {text}");
        }
    }
}
