//! What somebody can type: the commands that prove a finding, and the acts that can be undone. Root will paste them, so
//! no name that a stranger could have chosen stands in one unless it is plain.

use crate::track::findings::{Finding, On};
use crate::track::scene::{LatePackets, Party, StuckDevice};
use crate::track::suspect::{Reason, Suspect, Who, seconds};

/// Commands that show it again, and can hang on nothing that hangs.
pub fn prove(finding: &Finding<'_>) -> Vec<String> {
    let mut lines = match finding.on {
        On::Device(device) => still_device(&device),
        On::Packets(LatePackets { tid, .. }) => {
            let file = format!("/proc/{tid}/schedstat");
            vec![format!(
                "cat {file}; sleep 10; cat {file}  # the second number, ns waited, grows by the delay"
            )]
        }
        On::Spin(party) => {
            let mut lines = vec![still_spinning(&party)];
            lines.push("echo l >/proc/sysrq-trigger; dmesg | tail -99  # what each CPU does now".to_owned());
            lines
        }
        _ => finding
            .victims
            .listed
            .first()
            .map(|party| standing(party, "who waits longest"))
            .into_iter()
            .collect(),
    };
    let Some(suspect) = finding.suspects.first() else { return lines };
    match suspect.who {
        Who::Thread(party) if suspect.reason == Reason::KernelTime => lines.push(busy(&party)),
        Who::Thread(party) if party.spins => lines.push(still_spinning(&party)),
        Who::Thread(party) => lines.push(standing(&party, "the probable holder")),
        Who::Device(device) => lines.extend(still_device(&device)),
        Who::Group(_) => {}
    }
    lines
}

fn standing(party: &Party<'_>, what: &str) -> String {
    let file = format!("/proc/{}/task/{}/schedstat", party.pid, party.tid);
    format!("cat {file}; sleep 5; cat {file}  # {what}: the numbers stand still")
}

fn still_spinning(party: &Party<'_>) -> String {
    let file = format!("/proc/{}/task/{}/sched", party.pid, party.tid);
    let look = format!("grep -E 'sum_exec_runtime|nr_voluntary' {file}");
    format!("{look}; sleep 5; {look}  # {}: it runs, and does not sleep", plain(&party.name.to_string()))
}

fn busy(party: &Party<'_>) -> String {
    let file = format!("/proc/{}/task/{}/schedstat", party.pid, party.tid);
    let name = plain(&party.name.to_string());
    format!("cat {file}; sleep 5; cat {file}  # {name}: the first number, ns run, grows by much of that time")
}

fn still_device(device: &StuckDevice<'_>) -> Vec<String> {
    let name = plain(device.device);
    if device.suspended {
        return vec![format!("cat /sys/block/{name}/dm/suspended  # 1")];
    }
    let row = format!("grep -w {name} /proc/diskstats");
    vec![format!("{row}; sleep 5; {row}  # fields 4 and 8 stand still, field 12 is not 0")]
}

/// A name as it may stand in a command that root will paste: anything but plain characters is replaced.
pub fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "_.:@/+-".contains(c) { c } else { '?' };
    name.chars().map(kept).collect()
}

/// What frees those whom this suspect holds up, where it can be undone.
pub fn act_on(suspect: &Suspect<'_>) -> Option<String> {
    match (suspect.who, suspect.reason) {
        (Who::Thread(party), Reason::ThrottledRunnable) => Some(lift_quota(party.group?)),
        (Who::Thread(party), Reason::StarvedRunnable | Reason::KernelSpin) => {
            let cpu = party.cpu?;
            Some(format!(
                "Look at what runs on CPU {cpu}: {} has been there for {}.",
                party.name,
                seconds(party.length())
            ))
        }
        _ => None,
    }
}

/// The one act that frees a throttled holder at once: writing the quota lets all CPUs of the group run. A command is
/// given only for a unit of the system's manager with a plain name: root will paste it, and the name was chosen by
/// whoever made the group.
pub fn lift_quota(group: &str) -> String {
    let lift = "Lift the quota, which frees it within milliseconds";
    let unit = group.rsplit('/').next().unwrap_or(group);
    let is_unit = [".service", ".scope", ".slice"].iter().any(|suffix| unit.ends_with(suffix));
    if is_unit && plain(unit) == unit && !group.contains("/user@") {
        format!("{lift}: `systemctl set-property --runtime {unit} CPUQuota=`")
    } else {
        format!("{lift}: write max to cpu.max, or -1 to cpu.cfs_quota_us, of the group {group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_will_paste_holds_no_name_that_a_stranger_could_have_chosen() {
        let command = "systemctl set-property --runtime node-exporter.service CPUQuota=";
        assert!(lift_quota("/system.slice/node-exporter.service").contains(command));
        for group in [
            "/a/$(touch pwned).service",
            "/user.slice/user@0.service/x.service",
            "/kubepods/pod1",
            "/x\\x2d.slice",
        ] {
            assert!(!lift_quota(group).contains("systemctl"), "{group}");
        }
        assert_eq!(plain("a b;$(c)`d`"), "a?b???c??d?");
    }
}
