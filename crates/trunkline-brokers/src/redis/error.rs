//! What the server and the client library say, in sentences that name what to do.

use redis::{ErrorKind, RedisError};
use trunkline_tls::{Fault, Keys};

const KEYS: Keys = Keys { ca: "`cafile`", identity: "`certfile` and `keyfile`" };

const NO_PERMISSION: &str = "does not let this user do that; it needs the commands and keys that the manual lists";
const NODE: &str = "is a node of a cluster; set `cluster: true`";

/// What each error code of the server means, and what to do. The first that is found in the answer counts.
const CODES: [(&str, &str); 19] = [
    ("OOM", "has no memory left (`maxmemory`) and evicts nothing; let consumers catch up, set `max_length`, or give it more"),
    ("WRONGPASS", "refuses the user name or the password"),
    ("NOAUTH", "wants a password; set `password`, and `username` unless it is that of the default user"),
    ("NOPERM", NO_PERMISSION),
    ("user executing the script", NO_PERMISSION),
    ("READONLY", "is a replica and cannot be written to; name the primary in `url`"),
    ("LOADING", "is reading its data from disk after a start; it will be tried again"),
    ("MISCONF", "cannot save its data and refuses writes; look at its log and its disk"),
    ("NOREPLICAS", "has fewer replicas in step than `min-replicas-to-write` asks for"),
    ("MASTERDOWN", "is a replica that has lost its primary"),
    ("CLUSTERDOWN", "is a cluster that is down, or has slots that nobody serves; look at `CLUSTER INFO`"),
    ("CROSSSLOT", NODE),
    ("MOVED", NODE),
    ("ASK", NODE),
    ("TRYAGAIN", "is moving a slot from node to node; it will be tried again"),
    ("cluster support disabled", "is not a cluster; leave `cluster` out, and name one server"),
    ("BUSYGROUP", "has such a consumer group already"),
    ("BUSY", "is busy with a script of somebody; it can be ended with `SCRIPT KILL`"),
    ("WRONGTYPE", "holds something else than expected under a key"),
];

/// What `error` means to a person who reads it at night. `place` names the server, which is treated as a cluster or not.
pub(super) fn explain(place: &str, is_cluster: bool, error: &RedisError) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed => return format!("{place} refuses the user name or the password"),
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => return explain_io(place, error, &text),
        _ => {}
    }
    // An error inside a script has its code inside the text in older versions.
    let code = error.code().unwrap_or_default();
    match CODES.iter().find(|(known, _)| code == *known || text.contains(known)) {
        Some((_, NODE)) if is_cluster => {
            format!("{place} has nodes that do not agree on who serves what; it will be tried again ({text})")
        }
        Some((_, meaning)) => format!("{place} {meaning} ({text})"),
        None => format!("{place} answered: {text}"),
    }
}

fn explain_io(place: &str, error: &RedisError, text: &str) -> String {
    let lower = text.to_lowercase();
    if error.is_timeout() {
        format!("{place} gave no answer in time")
    } else if let Some(fault) = Fault::of(error) {
        format!("{place} and we do not agree on TLS: {}", fault.sentence(KEYS))
    } else if error.is_connection_refusal() {
        format!("{place} does not run, or not there: {text}")
    } else if lower.contains("lookup") || lower.contains("name or service") {
        format!("the host of {place} is unknown: {text}")
    } else {
        format!("the connection to {place} was lost or not made: {text}")
    }
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    #[test]
    fn a_cluster_is_not_advised_to_be_one() {
        let moved = RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "moved", "7 127.0.0.1:7002".to_owned()));
        assert!(explain("Redis at h", false, &moved).starts_with("Redis at h is a node of a cluster; set `cluster: true` ("));
        assert!(explain("the cluster", true, &moved).starts_with("the cluster has nodes that do not agree on who serves what"));
    }
}
