//! Kernel objects that a leak would accumulate.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::figures::Figures;

/// Slab caches whose objects belong to a process or a namespace and are freed with it. Caches that
/// the kernel keeps until it needs the memory, such as those of inodes and dentries, are useless
/// here.
const CACHES: &[&str] = &[
    "files_cache",
    "filp",
    "mnt_cache",
    "net_namespace",
    "nsproxy",
    "pid_namespace",
    "signal_cache",
    "sock_inode_cache",
    "task_struct",
    "uts_namespace",
];

/// The time that the kernel may need for what it frees after a grace period or in a worker thread.
const SETTLING: Duration = Duration::from_secs(60);

/// The number of objects that other processes on the machine may create meanwhile. A slab counts as
/// a whole, for each processor, and a concurrent build starts some hundred processes.
const OTHERS: u64 = 300;

/// A leak in one of this many containers is detected.
const ONE_IN: u64 = 50;

/// Counts by name.
pub struct Objects(BTreeMap<String, u64>);

impl Objects {
    pub fn now() -> Self {
        let mut counts = BTreeMap::new();
        let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(active)) = (words.next(), words.next())
                && CACHES.contains(&name)
                && let Ok(active) = active.parse()
            {
                counts.insert(format!("objects in {name}"), active);
            }
        }
        if let Some(cgroups) = dying_cgroups() {
            counts.insert("cgroups that are removed and held".to_owned(), cgroups);
        }
        Self(counts)
    }

    /// Finds counts that have grown by more than other processes may cause, and that do not shrink.
    pub fn compare(&self, containers: u64, figures: &mut Figures) {
        let allowed = OTHERS + containers / ONE_IN;
        let deadline = Instant::now() + SETTLING;
        let mut grown;
        loop {
            let now = Self::now();
            grown = self.grown(&now);
            if grown.iter().all(|(_, by)| *by <= allowed) || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for (name, by) in grown {
            figures.add(&format!("more {name}"), by);
            if by > allowed {
                figures.found(
                    "objects of the kernel are left",
                    format!("{by} more {name} after {containers} containers"),
                );
            }
        }
    }

    fn grown(&self, now: &Self) -> Vec<(String, u64)> {
        let count = |name: &String| now.0.get(name).copied().unwrap_or_default();
        self.0
            .iter()
            .map(|(name, before)| (name.clone(), count(name).saturating_sub(*before)))
            .collect()
    }
}

/// `nr_dying_descendants` of the whole hierarchy. cgroup-v2.rst, `cgroup.stat`.
fn dying_cgroups() -> Option<u64> {
    let file = runtime_tests::host::cgroup2_mount()?.join("cgroup.stat");
    let text = fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_dying_descendants "));
    line?.parse().ok()
}
