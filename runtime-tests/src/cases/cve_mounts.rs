//! Published attacks on runtimes, replayed: attacks on changes of a mount after it was made. See
//! `cve_paths`.

use std::fs;

use serde_json::json;

use super::cve_paths::{Host, RACES, bind, link, volume_to_swap, while_swapping, without_mount};
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2026_115521_descriptors_of_the_image_divert_no_flag,
    cve_2026_133553_nothing_is_copied_up_through_a_link,
];

fn cve_2026_115521_descriptors_of_the_image_divert_no_flag(t: &Sandbox) {
    let tmpfs = |destination: &str, options: &[&str]| {
        json!({"destination": destination,
        "type": "tmpfs", "source": "tmpfs", "options": options})
    };
    let mut bundle = without_mount(t.bundle(), "/proc")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/root/readonly", json!(true))
        .mount(tmpfs("/decoy", &[]))
        .mount(tmpfs("/ro", &["ro"]));
    for directory in ["self", "thread-self", "1"] {
        for number in 0..64 {
            bundle = link(bundle, &format!("/proc/{directory}/fd/{number}"), "/decoy");
        }
    }
    let script = "for path in / /ro /decoy; do
        (: >$path/made) 2>/dev/null && echo $path; done; true";
    // Only the decoy may be writable.
    let output = bundle.shell(script).container().run();
    output.ok().prints("/decoy");
}

fn cve_2026_133553_nothing_is_copied_up_through_a_link(t: &Sandbox) {
    let host = Host::new(t);
    let (volume, directory, link) = volume_to_swap(t, &host);
    fs::write(directory.join("copied"), "of the image").expect("file");
    let copied = json!({"destination": "/vol/swap", "type": "tmpfs", "source": "canary",
        "options": ["tmpcopyup"]});
    let bundle = t.bundle().mount(bind(&volume, "/vol")).mount(copied);
    let container = bundle
        .args(&["grep", "-c", " canary ", "/proc/self/mountinfo"])
        .container();
    while_swapping(&directory, &link, || {
        for _ in 0..RACES {
            let output = container.sibling().run();
            if !output.status.success() {
                output.fails();
            }
        }
    });
    host.is_unchanged();
    container.sibling().run().ok().prints("1");
}
