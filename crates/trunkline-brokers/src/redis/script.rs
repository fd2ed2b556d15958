//! The script that adds entries, which Redis runs as one step, and the command that calls it.

use std::collections::HashMap;
use std::fmt::Write as _;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisResult, RedisWrite as _, ServerErrorKind, Value};
use trunkline_core::{EXPORT_HEADER, Event, Offset};

use super::{DATA, End, ID, SENDER_ID, Structure, TYPE};

/// KEYS: the cursor, unless the mode is `plain`; then those that entries go to.
/// ARGV: mode, cursor as expected, next offset, writer, export id or nothing, the offset of each entry's event in one text; then the
/// runs, each being the number of its key, the number of its entries, and `WIDTH` values for each of these.
///
/// Keys of another type are looked for before anything is written, because Redis takes nothing back when a script fails. For the
/// same reason the cursor is set twice: the first time shows that there are memory and permission to write, and once a script
/// has written Redis does not stop it for lack of memory.
///
/// What is done for each entry decides about the speed of all; the offsets are only taken apart when something is in the way.
const CODE: &str = r"
local KEYS, ARGV = KEYS, ARGV
local mode, expected, after, writer, export, offsets = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local before_keys = mode == 'plain' and 0 or 1
local cursor, call = KEYS[1], redis.call

if mode == 'exact' then
  local stored = call('GET', cursor) or ''
  if stored ~= expected then return {'moved', stored} end
end

local function list_of_offsets()
  local list = {}
  for offset in offsets:gmatch('%d+') do list[#list + 1] = offset end
  return list
end

local done, most, answer = 0, math.huge, {'done'}
local wrong = {}
for i = before_keys + 1, #KEYS do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= 'STRUCTURE' then wrong[i - before_keys] = found end
end
if next(wrong) then
  local list, before, i = list_of_offsets(), 0, 7
  while ARGV[i] and most == math.huge do
    local key, count = tonumber(ARGV[i]), ARGV[i + 1]
    if wrong[key] then
      most, answer = before, {'wrongtype', 0, key, wrong[key]}
      while list[most] == list[before + 1] do most = most - 1 end
    end
    before, i = before + count, i + 2 + count * WIDTH
  end
end

if mode == 'exact' then call('SET', cursor, offsets:match('%d+') .. ' ' .. writer) end
local added, problem = pcall(function()
  local i = 7
  while ARGV[i] and done < most do
    local key, first = KEYS[before_keys + ARGV[i]], i + 2
    local last = first + math.min(ARGV[i + 1], most - done) * WIDTH - 1
    i = first + ARGV[i + 1] * WIDTH
    ADD
  end
end)
if not added then answer = {'failed', 0, problem.err or problem} end
TRIM
if mode == 'exact' then
  call('SET', cursor, (answer[1] == 'done' and after or list_of_offsets()[done + 1]) .. ' ' .. writer)
end
if mode == 'replay' and done > 0 then
  local stored = call('GET', cursor)
  local at = stored and stored:match('^%d+')
  for n, offset in ipairs(list_of_offsets()) do
    if n <= done and offset == at then at = string.format('%.0f', offset + 1) end
  end
  if at and at ~= stored:match('^%d+') then call('SET', cursor, at .. ' ' .. writer) end
end
if answer[1] ~= 'done' then answer[2] = done end
return answer
";

/// All elements of a run at once.
const PUSH: &str = r"
    call('COMMAND', key, unpack(ARGV, first, last))
    done = done + last - first + 1
";

/// An entry's values: the body, the id of the event, the conversation, the type.
const ADD: &str = r"
    for at = first, last, WIDTH do
      if export == '' then
        call('XADD', key, LIMIT'*', FIELDS)
      else
        call('XADD', key, LIMIT'*', FIELDS, 'HEADER', export)
      end
      done = done + 1
    end
";

const TRIM: &str = r"
for i = before_keys + 1, #KEYS do
  if not wrong[i - before_keys] then redis.pcall('LTRIM', KEYS[i], FIRST, LAST) end
end
";

/// How many entries a run has at the most: all elements of a list's run are on Lua's stack at a time.
const MOST_AT_ONCE: usize = 1000;

/// About how many bytes the names, numbers and lengths around an entry's values take.
const AROUND: usize = 64;

/// The script for one way of adding.
#[derive(Debug)]
pub(super) struct AddScript {
    structure: Structure,
    /// How many values an entry has.
    width: usize,
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
    pub(super) fn push(&mut self, event: usize, key: &str) {
        let number = match self.list.last() {
            Some(&(_, number)) if self.key(number) == key => number,
            _ => self.number(key),
        };
        self.list.push((event, number));
    }

    fn number(&mut self, key: &str) -> usize {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let number = self.keys.len();
        self.keys.push(key.to_owned());
        self.numbers.insert(key.to_owned(), number);
        number
    }

    pub(super) fn key(&self, number: usize) -> &str {
        self.keys.get(number).map_or("", String::as_str)
    }

    /// Each entry: the index of its event, and its key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.list.iter().map(|&(event, number)| (event, self.key(number)))
    }

    /// Neighbours that go to the same key, which the script may add together.
    fn runs(&self) -> impl Iterator<Item = &[(usize, usize)]> {
        self.list.chunk_by(|one, other| one.1 == other.1).flat_map(|run| run.chunks(MOST_AT_ONCE))
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
                    format!("'{DATA}', ARGV[at], '{ID}', ARGV[at + 1], '{SENDER_ID}', ARGV[at + 2], '{TYPE}', ARGV[at + 3]");
                (4, ADD.replace("LIMIT", &limit).replace("FIELDS", &fields).replace("HEADER", EXPORT_HEADER))
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
        Self { structure, width, script: redis::Script::new(&code) }
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
        let of = |entry: &(usize, usize)| events(entry.0);
        let size: usize = entries.list.iter().filter_map(of).map(|event| event.body.len() + AROUND).sum();
        let offsets = entries.list.iter().filter_map(of).fold(String::new(), |mut offsets, event| {
            // Writing to a text does not fail.
            let _ = write!(offsets, "{} ", event.offset);
            offsets
        });
        let mut command =
            Cmd::with_capacity(entries.list.len() * (self.width + 2) + entries.keys.len() + 10, size + offsets.len());
        command.arg("EVALSHA").arg(self.script.get_hash()).arg(entries.keys.len() + usize::from(cursor.is_some()));
        command.arg(cursor.as_slice()).arg(&entries.keys);
        command.arg(name).arg(expected).arg(next).arg(writer).arg(export).arg(offsets);
        for run in entries.runs() {
            let Some(&(_, key)) = run.first() else { continue };
            command.arg(key + 1).arg(run.len());
            for event in run.iter().filter_map(of) {
                command.arg(&event.body[..]);
                if self.structure == Structure::Stream {
                    command.write_arg_fmt(event.id);
                    command.arg(event.conversation.as_str()).arg(event.event_type.as_str());
                }
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
            entries.push(event, key);
        }
        assert_eq!(entries.runs().map(<[_]>::len).collect::<Vec<_>>(), [2, 1, 1, 4, 2]);
        assert_eq!(entries.runs().collect::<Vec<_>>().concat(), entries.list);
        assert_eq!(entries.keys, ["a", "b", "c"]);
        let mut many = Entries::default();
        (0..2500).for_each(|event| many.push(event, "a"));
        assert_eq!(many.runs().map(<[_]>::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
