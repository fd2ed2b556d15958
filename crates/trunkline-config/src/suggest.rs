//! "Did you mean": the known name nearest to a misspelt one.

/// The candidate nearest to `name`, ignoring case and the difference between `_`, `-` and nothing.
///
/// `None` when nothing is near: at most a third of the letters may differ, and at most three. Swapped neighbours count
/// as one difference.
///
/// ```
/// assert_eq!(trunkline_config::closest("prot", ["port", "path"]), Some("port"));
/// assert_eq!(trunkline_config::closest("colour", ["port", "path"]), None);
/// ```
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = simplified(name);
    let limit = (name.chars().count().div_ceil(3)).min(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&name, &simplified(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// At most 64 characters are compared, so that a hostile name costs little.
fn simplified(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["queues", "exchange_name", "username", "password", "url"];
        let cases = [
            ("queue", Some("queues")),
            ("exchangeName", Some("exchange_name")),
            ("usernmae", Some("username")),
            ("pasword", Some("password")),
            ("uri", Some("url")),
            ("virtual_host", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(closest(name, known), expected, "{name}");
        }
    }
}
