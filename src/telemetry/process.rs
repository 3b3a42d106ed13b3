//! Metrics of the process under the names that every Prometheus client uses. Read from /proc at the scrape; where
//! there is none (not Linux) they are left out.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Ticks per second in /proc: fixed in Linux's interface to programs, whatever the kernel's own rate is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory, processor time and open files of this process.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|stat| cpu_seconds(&stat))
        {
            let counter = ConstCounter::new(seconds);
            let help = "User and system processor time";
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| resident_bytes(&status))
        {
            let gauge = ConstGauge::new(bytes);
            let help = "Resident memory";
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory_bytes",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        if let Some(count) = fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|open| i64::try_from(open.count()).ok())
        {
            let gauge = ConstGauge::new(count);
            let help = "Open file descriptors";
            gauge.encode(encoder.encode_descriptor(
                "process_open_fds",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// Fields 14 and 15 of `/proc/self/stat`. The second field is the program's name in parentheses and may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let stat =
            "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 913 0 2 0 150 50 0 0 20 0 4 0 8121 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(
            resident_bytes("VmPeak:\t   10 kB\nVmRSS:\t    2048 kB\n"),
            Some(2_097_152)
        );
    }

    #[test]
    fn leaves_out_what_it_cannot_read() {
        assert_eq!(cpu_seconds("4242 (cut"), None);
        assert_eq!(resident_bytes("Name:\tsepulki\n"), None);
    }
}
