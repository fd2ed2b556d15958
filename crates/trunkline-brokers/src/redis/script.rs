//! The script that adds entries, which Redis runs as one step, and the command that calls it.

use std::collections::HashMap;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use trunkline_core::{EXPORT_HEADER, Event, Offset};

use super::{DATA, End, ID, SENDER_ID, Structure, TYPE};

/// KEYS: the cursor, unless the mode is `plain`; then those that entries go to.
/// ARGV: mode, cursor as expected, next offset, writer, export id or nothing; then the runs, each being the number of its key, the
/// offset of its first event, the number of its entries, and `WIDTH` values for each of these.
///
/// Keys of another type are looked for before anything is written, because Redis takes nothing back when a script fails. For the
/// same reason the cursor is set twice: the first time shows that there are memory and permission to write, and once a script
/// has written Redis does not stop it for lack of memory.
const CODE: &str = r"
local KEYS, ARGV = KEYS, ARGV
local mode, expected, after, writer, export = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local before_keys = mode == 'plain' and 0 or 1
local cursor, call = KEYS[1], redis.pcall

if mode == 'exact' then
  local stored = redis.call('GET', cursor) or ''
  if stored ~= expected then return {'moved', stored} end
end

local wrong, stop, done, answer = {}, nil, 0, {'done'}
for i = before_keys + 1, #KEYS do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= 'STRUCTURE' then wrong[tostring(i - before_keys)] = found end
end
if next(wrong) then
  local i = 6
  while ARGV[i] and not stop do
    if wrong[ARGV[i]] then
      stop, answer = ARGV[i + 1], {'wrongtype', 0, ARGV[i], wrong[ARGV[i]]}
    end
    i = i + 3 + ARGV[i + 2] * WIDTH
  end
end

if mode == 'exact' then redis.call('SET', cursor, ARGV[7] .. ' ' .. writer) end
local i = 6
while ARGV[i] and ARGV[i + 1] ~= stop do
  local key, offset, first, last = KEYS[before_keys + ARGV[i]], ARGV[i + 1], i + 3, i + 2 + ARGV[i + 2] * WIDTH
  i = last + 1
  ADD
  if mode == 'replay' then
    local at = redis.call('GET', cursor)
    if at and at:match('^%d+') == offset then
      redis.call('SET', cursor, string.format('%.0f', offset + 1) .. ' ' .. writer)
    end
  end
end
TRIM
if mode == 'exact' then redis.call('SET', cursor, (stop or after) .. ' ' .. writer) end
if stop then answer[2] = done end
return answer
";

/// All elements of a run at once.
const PUSH: &str = r"
  local reply = call('COMMAND', key, unpack(ARGV, first, last))
  if type(reply) == 'table' then
    stop, answer = offset, {'failed', 0, reply.err}
    break
  end
  done = done + last - first + 1
";

/// The values of an entry begin with the offset of its event.
const ADD: &str = r"
  for at = first, last, WIDTH do
    local reply
    if export == '' then
      reply = call('XADD', key, LIMIT'*', FIELDS)
    else
      reply = call('XADD', key, LIMIT'*', FIELDS, 'HEADER', export)
    end
    if type(reply) == 'table' then
      stop, answer = ARGV[at], {'failed', 0, reply.err}
      break
    end
    done = done + 1
  end
  if answer[1] == 'failed' then break end
";

const TRIM: &str = r"
for i = before_keys + 1, #KEYS do
  if not wrong[tostring(i - before_keys)] then redis.pcall('LTRIM', KEYS[i], FIRST, LAST) end
end
";

/// How many entries a run has at the most: all elements of a list's run are on Lua's stack at a time.
const MOST_AT_ONCE: usize = 1000;

/// The script for one way of adding.
#[derive(Debug)]
pub(super) struct AddScript {
    structure: Structure,
    script: redis::Script,
}

/// What is done with the cursor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode<'a> {
    /// It must be `expected`, and will be at `next`, in the name of `writer`.
    Exact { cursor: &'a str, expected: &'a str, next: Offset, writer: &'a str },
    /// It is moved past an event of ours when it stands at that event.
    Replay { cursor: &'a str, writer: &'a str },
    /// Nothing.
    Plain,
}

/// Entries for one call: where each goes, and of which event it is. Entries of an event are neighbours.
#[derive(Debug, Default)]
pub(super) struct Entries {
    keys: Vec<String>,
    numbers: HashMap<String, usize>,
    /// The index of an event in its batch, and of a key here.
    list: Vec<(usize, usize)>,
}

impl Entries {
    pub(super) fn push(&mut self, event: usize, key: String) {
        if let Some(&(_, number)) = self.list.last()
            && self.key(number) == key
        {
            self.list.push((event, number));
            return;
        }
        let number = *self.numbers.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            self.keys.len() - 1
        });
        self.list.push((event, number));
    }

    pub(super) fn key(&self, number: usize) -> &str {
        self.keys.get(number).map_or("", String::as_str)
    }

    /// Each entry: the index of its event, and its key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.list.iter().map(|&(event, number)| (event, self.key(number)))
    }

    /// Neighbours that go to the same key, which the script may add together. An event with several keys has a run for each, so
    /// that the script can stop before the first of them.
    fn runs(&self, each_alone: bool) -> Vec<&[(usize, usize)]> {
        let event = |at: usize| self.list.get(at).map(|entry| entry.0);
        let has_several =
            |at: usize| event(at) == event(at + 1) || at.checked_sub(1).is_some_and(|before| event(before) == event(at));
        let (mut runs, mut rest) = (Vec::new(), &self.list[..]);
        while let Some(&(_, key)) = rest.first() {
            let start = self.list.len() - rest.len();
            let is_alone = each_alone || has_several(start);
            let joins = |&at: &usize| self.list[at].1 == key && !is_alone && !has_several(at);
            let length = 1 + (start + 1..self.list.len()).take(MOST_AT_ONCE - 1).take_while(joins).count();
            let (run, others) = rest.split_at(length);
            runs.push(run);
            rest = others;
        }
        runs
    }
}

/// What the script answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// All entries are added.
    Done,
    /// The cursor is not the one expected but this; nothing was done.
    Moved(String),
    /// So many entries are added; the next was not, and none of its event, for this reason.
    Stopped(usize, Fault),
}

/// Why an entry cannot be added to its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The key, by its number, is of this type.
    WrongType(usize, String),
    /// What the server says.
    Other(String),
}

impl AddScript {
    /// `end` is only asked for lists. `most` is how many entries a key may have.
    pub(super) fn new(structure: Structure, end: End, most: Option<u64>) -> Self {
        let (width, add) = match structure {
            Structure::List => (1, PUSH.replace("COMMAND", if end == End::Right { "RPUSH" } else { "LPUSH" })),
            Structure::Stream => {
                let limit = most.map(|most| format!("'MAXLEN', '~', '{most}', ")).unwrap_or_default();
                let fields =
                    format!("'{DATA}', ARGV[at + 1], '{ID}', ARGV[at + 2], '{SENDER_ID}', ARGV[at + 3], '{TYPE}', ARGV[at + 4]");
                (5, ADD.replace("LIMIT", &limit).replace("FIELDS", &fields).replace("HEADER", EXPORT_HEADER))
            }
        };
        let trim = match (structure, end, most) {
            (Structure::List, End::Right, Some(most)) => TRIM.replace("FIRST", &format!("'-{most}'")).replace("LAST", "'-1'"),
            (Structure::List, End::Left, Some(most)) => TRIM.replace("FIRST", "'0'").replace("LAST", &format!("'{}'", most - 1)),
            _ => String::new(),
        };
        let code = CODE
            .replace("ADD", &add)
            .replace("TRIM", &trim)
            .replace("STRUCTURE", structure.name())
            .replace("WIDTH", &width.to_string());
        Self { structure, script: redis::Script::new(&code) }
    }

    /// Adds `entries`, which belong to `events`.
    pub(super) async fn run<'e>(
        &self,
        connection: &mut impl ConnectionLike,
        mode: Mode<'_>,
        export: Option<&str>,
        entries: &Entries,
        events: impl Fn(usize) -> Option<&'e Event>,
    ) -> RedisResult<Reply> {
        let command = self.command(mode, export.unwrap_or_default(), entries, events);
        let answer = match command.query_async(connection).await {
            // A server that was started anew, or another node of a cluster, does not know it.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.load(connection).await?;
                command.query_async(connection).await?
            }
            result => result?,
        };
        Reply::parse(answer)
    }

    /// Makes the server know the script, which also shows that this user may run scripts.
    pub(super) async fn load(&self, connection: &mut impl ConnectionLike) -> RedisResult<()> {
        self.script.load_async(connection).await.map(|_| ())
    }

    fn command<'e>(&self, mode: Mode<'_>, export: &str, entries: &Entries, events: impl Fn(usize) -> Option<&'e Event>) -> Cmd {
        let (name, cursor, expected, next, writer) = match mode {
            Mode::Exact { cursor, expected, next, writer } => ("exact", Some(cursor), expected, next, writer),
            Mode::Replay { cursor, writer } => ("replay", Some(cursor), "", 0, writer),
            Mode::Plain => ("plain", None, "", 0, ""),
        };
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(entries.keys.len() + usize::from(cursor.is_some()));
        command.arg(cursor.as_slice()).arg(&entries.keys);
        command.arg(name).arg(expected).arg(next).arg(writer).arg(export);
        for run in entries.runs(matches!(mode, Mode::Replay { .. })) {
            let Some((first, key)) = run.first().and_then(|&(event, key)| Some((events(event)?, key))) else { continue };
            command.arg(key + 1).arg(first.offset).arg(run.len());
            for event in run.iter().filter_map(|&(event, _)| events(event)) {
                match self.structure {
                    Structure::List => command.arg(&event.body[..]),
                    Structure::Stream => command
                        .arg(event.offset)
                        .arg(&event.body[..])
                        .arg(event.id.to_string())
                        .arg(event.conversation.as_str())
                        .arg(event.event_type.as_str()),
                };
            }
        }
        command
    }
}

impl Reply {
    fn parse(answer: Vec<Value>) -> RedisResult<Self> {
        let mut answer = answer.into_iter();
        let mut text = || -> RedisResult<String> { Ok(redis::from_redis_value(answer.next().unwrap_or(Value::Nil))?) };
        let number = |text: String| text.parse::<usize>().unwrap_or_default();
        Ok(match text()?.as_str() {
            "done" => Self::Done,
            "moved" => Self::Moved(text()?),
            "wrongtype" => Self::Stopped(number(text()?), Fault::WrongType(number(text()?).saturating_sub(1), text()?)),
            _ => Self::Stopped(number(text()?), Fault::Other(text()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_neighbours_with_one_and_the_same_key() {
        let mut entries = Entries::default();
        for (event, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (3, "b"), (4, "b"), (5, "b"), (6, "b"), (6, "c"), (7, "c")] {
            entries.push(event, key.to_owned());
        }
        let lengths = |each_alone| entries.runs(each_alone).into_iter().map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(false), [2, 1, 1, 1, 2, 1, 1, 1]);
        assert_eq!(lengths(true), [1; 10]);
        assert_eq!(entries.runs(false).concat(), entries.list);
        let mut many = Entries::default();
        (0..2500).for_each(|event| many.push(event, "a".to_owned()));
        assert_eq!(many.runs(false).into_iter().map(<[_]>::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
