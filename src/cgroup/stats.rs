//! The resource usage of a cgroup, in the JSON form that engines read from `events`.
//!
//! The form was made for cgroup v1. A value of v2 takes the place of its v1 counterpart. Values
//! that v2 does not have are zero or absent, and zeros are left out where other runtimes leave them
//! out. Source: Documentation/admin-guide/cgroup-v2.rst, Documentation/accounting/psi.rst.

use anyhow::Result;
use nix::errno::Errno;
use serde_json::{Map, Value};

use super::Cgroup;
use super::file::{self, is_gone};
use crate::error::Context as _;
use crate::json::object;
use crate::sorted::sorted;
use crate::sys::{Fail, tree};

impl Cgroup {
    /// The statistics of this cgroup and of all cgroups below it: times in nanoseconds, sizes in
    /// bytes, and `u64::MAX` for no limit. Values of a missing controller are zero. `None` if the
    /// cgroup was removed meanwhile.
    ///
    /// # Errors
    /// A file cannot be read for another reason than that it does not exist.
    pub fn stats(&self) -> Result<Option<Value>> {
        let read = |name: &str| match file::read(self.fd(), name) {
            Ok(text) => Ok(Some(text)),
            // The controller is not enabled, pressure accounting is off, or the cgroup was removed.
            Err(Fail {
                errno: Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV,
                ..
            }) => Ok(None),
            Err(fail) => Err(fail).with_context(|| self.object(name)),
        };
        let stats = document(&read, &self.page_sizes()?)?;
        // Every existing cgroup has this file.
        Ok(read("cgroup.events")?.map(|_| stats))
    }

    /// The sizes of huge pages that this cgroup counts, as in `2MB`.
    fn page_sizes(&self) -> Result<Vec<String>> {
        let entries = tree::entries(self.fd()).with_context(|| self.object(""))?;
        let names = entries.iter().filter_map(|entry| entry.name.to_str().ok());
        let sizes = names.filter_map(|name| {
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
            (!size.contains('.')).then(|| size.to_owned())
        });
        Ok(sorted(sizes.collect()))
    }

    /// The number of processes that the kernel has killed here for lack of memory. cgroup-v2.rst,
    /// `memory.events`.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn memory_kills(&self) -> Result<u64> {
        match file::read(self.fd(), "memory.events") {
            Ok(text) => Ok(keyed(&text, "oom_kill")),
            Err(fail) if is_gone(fail) => Ok(0),
            Err(fail) => Err(fail).with_context(|| self.object("memory.events")),
        }
    }
}

/// The statistics of a container without a cgroup, for which nothing is counted.
#[must_use]
pub fn uncounted() -> Value {
    document(&|_| Ok(None), &[]).expect("nothing is read")
}

/// Reads a file of the cgroup. `None` if the file does not exist.
type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>>;

fn document(read: Read, page_sizes: &[String]) -> Result<Value> {
    Ok(object! {
        "cpu": cpu(read)?,
        "cpuset": cpuset(),
        "memory": memory(read)?,
        "pids": pids(read)?,
        "blkio": block_io(read)?,
        "hugetlb": huge_pages(read, page_sizes)?,
        "intel_rdt": Map::new(),
        "network_interfaces": Value::Null,
    })
}

/// An object with the members that are not zero.
fn sparse<const N: usize>(members: [(&str, u64); N]) -> Map<String, Value> {
    let members = members.into_iter().filter(|(_, value)| *value != 0);
    collected(members.map(|(name, value)| (name.to_owned(), value.into())))
}

/// Inserts the members one by one. collect() sorts them first, which is 6 kB of code.
fn collected(members: impl Iterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    object.extend(members);
    object
}

fn cpu(read: Read) -> Result<Value> {
    let text = read("cpu.stat")?.unwrap_or_default();
    let nanoseconds = |key| keyed(&text, key).saturating_mul(1000);
    let mut usage = sparse([("total", nanoseconds("usage_usec"))]);
    usage.insert("kernel".into(), nanoseconds("system_usec").into());
    usage.insert("user".into(), nanoseconds("user_usec").into());
    let throttling = sparse([
        ("periods", keyed(&text, "nr_periods")),
        ("throttledPeriods", keyed(&text, "nr_throttled")),
        ("throttledTime", nanoseconds("throttled_usec")),
    ]);
    let mut cpu = object! { "usage": usage, "throttling": throttling };
    add_pressure(&mut cpu, read, "cpu.pressure")?;
    Ok(cpu)
}

/// cgroup v2 has none of these counters and settings.
fn cpuset() -> Value {
    object! {
        "cpu_exclusive": 0,
        "mem_hardwall": 0,
        "mem_exclusive": 0,
        "memory_migrate": 0,
        "memory_spread_page": 0,
        "memory_spread_slab": 0,
        "memory_pressure": 0,
        "sched_load_balance": 0,
        "sched_relax_domain_level": 0,
    }
}

/// The values of one kind of memory.
#[derive(Clone, Copy, Default)]
struct Amount {
    limit: u64,
    usage: u64,
    max: u64,
    failures: u64,
}

impl Amount {
    /// `name` is `memory` or `memory.swap`.
    fn read(read: Read, name: &str) -> Result<Self> {
        let one = |file: &str| -> Result<u64> {
            Ok(number(
                &read(&format!("{name}.{file}"))?.unwrap_or_default(),
            ))
        };
        let events = read(&format!("{name}.events"))?.unwrap_or_default();
        Ok(Self {
            limit: one("max")?,
            usage: one("current")?,
            max: one("peak")?,
            failures: keyed(&events, "max"),
        })
    }

    fn json(self) -> Value {
        let mut object = sparse([("usage", self.usage), ("max", self.max)]);
        object.insert("limit".into(), self.limit.into());
        object.insert("failcnt".into(), self.failures.into());
        Value::Object(object)
    }
}

fn memory(read: Read) -> Result<Value> {
    let text = read("memory.stat")?.unwrap_or_default();
    let raw = collected(pairs(&text).map(|(key, value)| (key.to_owned(), value.into())));
    let usage = Amount::read(read, "memory")?;
    let swap = match read("memory.swap.current")? {
        Some(_) => Amount::read(read, "memory.swap")?,
        None => Amount::default(),
    };
    // In v1 this value counted memory and swap together. The sum of two peaks is not a peak, so
    // `max` is 0.
    let both = Amount {
        limit: swap.limit.saturating_add(usage.limit),
        usage: swap.usage.saturating_add(usage.usage),
        max: 0,
        failures: swap.failures,
    };
    let mut memory = sparse([("cache", keyed(&text, "file"))]);
    memory.insert("usage".into(), usage.json());
    memory.insert("swap".into(), both.json());
    memory.insert("kernel".into(), Amount::default().json());
    memory.insert("kernelTCP".into(), Amount::default().json());
    if !raw.is_empty() {
        memory.insert("raw".into(), raw.into());
    }
    let mut memory = Value::Object(memory);
    add_pressure(&mut memory, read, "memory.pressure")?;
    Ok(memory)
}

/// `limit` is absent if there is no limit: engines interpret 0 as unlimited here.
fn pids(read: Read) -> Result<Value> {
    let one = |file| -> Result<u64> { Ok(number(&read(file)?.unwrap_or_default())) };
    let limit = match one("pids.max")? {
        u64::MAX => 0,
        limit => limit,
    };
    Ok(sparse([("current", one("pids.current")?), ("limit", limit)]).into())
}

/// `io.stat` has a line for each device, as in `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5
/// dios=6`.
fn block_io(read: Read) -> Result<Value> {
    let text = read("io.stat")?.unwrap_or_default();
    let lists = [
        (
            "ioServiceBytesRecursive",
            [("rbytes", "Read"), ("wbytes", "Write")],
        ),
        ("ioServicedRecursive", [("rios", "Read"), ("wios", "Write")]),
    ];
    let mut object = Map::new();
    for (name, keys) in lists {
        let entries: Vec<_> = text.lines().flat_map(|line| device(line, keys)).collect();
        if !entries.is_empty() {
            object.insert(name.into(), entries.into());
        }
    }
    let mut io = Value::Object(object);
    add_pressure(&mut io, read, "io.pressure")?;
    Ok(io)
}

/// The entries of one device, for the keys that its line has.
fn device(line: &str, keys: [(&str, &str); 2]) -> Vec<Value> {
    let Some((name, values)) = line.split_once(' ') else {
        return Vec::new();
    };
    let (major, minor) = name.split_once(':').unwrap_or((name, "0"));
    let value = |key: &str| {
        let mut values = values.split_whitespace();
        values.find_map(|it| it.strip_prefix(key)?.strip_prefix('='))
    };
    let entry = |(key, op): (&str, &str)| {
        let mut entry = sparse([
            ("major", number(major)),
            ("minor", number(minor)),
            ("value", number(value(key)?)),
        ]);
        entry.insert("op".into(), op.into());
        Some(Value::Object(entry))
    };
    keys.into_iter().filter_map(entry).collect()
}

fn huge_pages(read: Read, sizes: &[String]) -> Result<Value> {
    let mut object = Map::new();
    for size in sizes {
        let usage = number(&read(&format!("hugetlb.{size}.current"))?.unwrap_or_default());
        let events = read(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
        let mut one = sparse([("usage", usage)]);
        one.insert("failcnt".into(), keyed(&events, "max").into());
        object.insert(size.clone(), one.into());
    }
    Ok(object.into())
}

/// Adds `psi` if the kernel accounts pressure: averages in percent, the total in microseconds.
fn add_pressure(object: &mut Value, read: Read, file: &str) -> Result<()> {
    let Some(text) = read(file)? else {
        return Ok(());
    };
    let of = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind));
        let value = |key: &str| {
            let mut values = line?.split_whitespace();
            values.find_map(|it| it.strip_prefix(key)?.strip_prefix('='))
        };
        // A number with two decimals, as JSON has it too.
        let average = |key| value(key).and_then(|text| serde_json::from_str::<f64>(text).ok());
        object! {
            "avg10": average("avg10").unwrap_or_default(),
            "avg60": average("avg60").unwrap_or_default(),
            "avg300": average("avg300").unwrap_or_default(),
            "total": value("total").map(number).unwrap_or_default(),
        }
    };
    object["psi"] = object! { "some": of("some"), "full": of("full") };
    Ok(())
}

/// Parses lines of the form `key number`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// The number on the line with `key`, or 0.
pub(super) fn keyed(text: &str, key: &str) -> u64 {
    pairs(text)
        .find_map(|(name, value)| (name == key).then_some(value))
        .unwrap_or_default()
}

/// Parses a number or `max`.
fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(files: &[(&str, &str)], page_sizes: &[&str]) -> Value {
        let read = |name: &str| {
            let file = files.iter().find(|(file, _)| *file == name);
            Ok(file.map(|(_, text)| (*text).to_owned()))
        };
        let sizes: Vec<_> = page_sizes.iter().map(|size| (*size).to_owned()).collect();
        document(&read, &sizes).unwrap()
    }

    #[test]
    fn without_controllers_there_are_zeros() {
        let found = stats(&[], &[]);
        let none = json!({"limit": 0, "failcnt": 0});
        assert_eq!(
            found["cpu"],
            json!({"usage": {"kernel": 0, "user": 0}, "throttling": {}})
        );
        assert_eq!(
            found["memory"],
            json!({"usage": none, "swap": none, "kernel": none, "kernelTCP": none})
        );
        assert_eq!((&found["pids"], &found["blkio"]), (&json!({}), &json!({})));
        assert_eq!(found["cpuset"]["sched_relax_domain_level"], 0);
        assert_eq!(
            (
                &found["hugetlb"],
                &found["intel_rdt"],
                &found["network_interfaces"]
            ),
            (&json!({}), &json!({}), &Value::Null)
        );
    }

    #[test]
    fn times_are_nanoseconds() {
        let text = "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 5\nnr_throttled 4\n\
                    throttled_usec 7\nnr_bursts 0\n";
        let found = stats(&[("cpu.stat", text)], &[]);
        assert_eq!(
            found["cpu"],
            json!({
                "usage": {"total": 30_000, "kernel": 20_000, "user": 10_000},
                "throttling": {"periods": 5, "throttledPeriods": 4, "throttledTime": 7000},
            })
        );
    }

    #[test]
    fn swap_counts_memory_too() {
        let files = [
            ("memory.stat", "anon 3\nfile 4\n"),
            ("memory.current", "100\n"),
            ("memory.max", "200\n"),
            ("memory.peak", "150\n"),
            ("memory.events", "low 0\nhigh 0\nmax 6\noom 1\noom_kill 1\n"),
            ("memory.swap.current", "10\n"),
            ("memory.swap.max", "50\n"),
        ];
        let memory = &stats(&files, &[])["memory"];
        assert_eq!(memory["cache"], 4);
        assert_eq!(memory["raw"], json!({"anon": 3, "file": 4}));
        assert_eq!(
            memory["usage"],
            json!({"limit": 200, "usage": 100, "max": 150, "failcnt": 6})
        );
        assert_eq!(
            memory["swap"],
            json!({"limit": 250, "usage": 110, "failcnt": 0})
        );
    }

    #[test]
    fn max_is_the_largest_number_and_absent_for_pids() {
        let files = [
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.swap.current", "0\n"),
            ("pids.max", "max\n"),
            ("pids.current", "2\n"),
        ];
        let found = stats(&files, &[]);
        assert_eq!(found["memory"]["usage"]["limit"], u64::MAX);
        assert_eq!(found["memory"]["swap"]["limit"], u64::MAX);
        assert_eq!(found["pids"], json!({"current": 2}));
    }

    #[test]
    fn devices_and_huge_pages() {
        let files = [
            (
                "io.stat",
                "8:16 rbytes=1 wbytes=2 rios=3 wios=0 dbytes=5 dios=6\n7:0 \n",
            ),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.events", "max 3\n"),
        ];
        let found = stats(&files, &["2MB"]);
        let entry = |op, value| json!({"major": 8, "minor": 16, "op": op, "value": value});
        assert_eq!(
            found["blkio"],
            json!({
                "ioServiceBytesRecursive": [entry("Read", 1), entry("Write", 2)],
                "ioServicedRecursive": [
                    entry("Read", 3), {"major": 8, "minor": 16, "op": "Write"},
                ],
            })
        );
        assert_eq!(
            found["hugetlb"],
            json!({"2MB": {"usage": 2_097_152, "failcnt": 3}})
        );
    }

    #[test]
    fn pressure_is_reported_if_the_kernel_accounts_it() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=9\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=4\n";
        for (file, key) in [("cpu.pressure", "cpu"), ("io.pressure", "blkio")] {
            let psi = &stats(&[(file, text)], &[])[key]["psi"];
            assert_eq!(
                psi["some"],
                json!({"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 9})
            );
            assert_eq!(psi["full"]["total"], 4);
        }
    }
}
