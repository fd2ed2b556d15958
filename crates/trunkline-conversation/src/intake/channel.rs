//! The channel of a conversation, for events that do not name one.
//!
//! Only a `user` event says in its body through which channel it came. What a slot or the assistant's answer belongs to is known
//! from the conversation, so that a filter of channels lets whole conversations through and not only what the user said.

use compact_str::CompactString;

/// Fills in missing channels. An event takes the channel of the event before it, the first one takes `last`. Without a `last`, those
/// before the first event with a channel take its channel. Afterwards `last` is the newest channel.
pub fn carry_channel<'c>(last: &mut Option<CompactString>, channels: impl IntoIterator<Item = &'c mut Option<CompactString>>) {
    let mut early = Vec::new();
    for channel in channels {
        if channel.is_some() {
            last.clone_from(channel);
            early.drain(..).for_each(|before: &mut Option<CompactString>| before.clone_from(last));
        } else if last.is_some() {
            channel.clone_from(last);
        } else {
            early.push(channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_carried_along_and_back_to_the_beginning() {
        let carried = |last: &str, channels: &str| {
            let mut last = Some(last).filter(|last| !last.is_empty()).map(CompactString::from);
            let mut channels: Vec<_> =
                channels.chars().map(|channel| (channel != '-').then(|| channel.to_string().into())).collect();
            carry_channel(&mut last, &mut channels);
            let shown = channels.into_iter().map(|channel| channel.unwrap_or_else(|| "-".into())).collect::<String>();
            (shown, last.unwrap_or_default().to_string())
        };
        for (last, channels, expected, then) in
            [("", "--r--s-", "rrrrrss", "s"), ("r", "--s-", "rrss", "s"), ("", "--", "--", ""), ("r", "", "", "r")]
        {
            assert_eq!(carried(last, channels), (expected.to_owned(), then.to_owned()), "{last} {channels}");
        }
    }
}
