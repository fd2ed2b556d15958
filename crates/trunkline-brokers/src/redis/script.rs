//! The script that adds entries, which Redis runs as one step, and the command that calls it.

use std::collections::HashMap;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use trunkline_core::{Event, Offset};

use super::{DATA, End, ID, SENDER_ID, Structure, TYPE};

/// KEYS: the cursor, unless the mode is `plain`; then those that entries go to.
/// ARGV: mode, cursor as expected, next offset, writer, export id or nothing; then `WIDTH` values per entry, the first two being
/// the number of its key and the offset of its event.
///
/// Keys of another type are looked for before anything is written, because Redis takes nothing back when a script fails. For the
/// same reason the cursor is set twice: the first time shows that there are memory and permission to write, and once a script
/// has written Redis does not stop it for lack of memory.
const CODE: &str = r"
local mode, expected, after, writer, export = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local before_keys = mode == 'plain' and 0 or 1
local cursor = KEYS[1]

if mode == 'exact' then
  local stored = redis.call('GET', cursor) or ''
  if stored ~= expected then return {'moved', stored} end
end

local wrong, stop, answer = {}, nil, {'done'}
for i = before_keys + 1, #KEYS do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= 'STRUCTURE' then wrong[tostring(i - before_keys)] = found end
end
if next(wrong) then
  for i = 6, #ARGV, WIDTH do
    if wrong[ARGV[i]] then
      stop = ARGV[i + 1]
      answer = {'wrongtype', 0, ARGV[i], wrong[ARGV[i]]}
      break
    end
  end
end

if mode == 'exact' then redis.call('SET', cursor, ARGV[7] .. ' ' .. writer) end
local done = 0
for i = 6, #ARGV, WIDTH do
  local offset = ARGV[i + 1]
  if offset == stop then break end
  local key = KEYS[before_keys + ARGV[i]]
  local reply = ADD
  if type(reply) == 'table' and reply.err then
    stop, answer = offset, {'failed', 0, reply.err}
    break
  end
  done = done + 1
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

const TRIM: &str = r"
for i = before_keys + 1, #KEYS do
  if not wrong[tostring(i - before_keys)] then redis.pcall('LTRIM', KEYS[i], FIRST, LAST) end
end
";

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
            Structure::List => {
                let command = if end == End::Right { "RPUSH" } else { "LPUSH" };
                (3, format!("redis.pcall('{command}', key, ARGV[i + 2])"))
            }
            Structure::Stream => {
                let trim = most.map(|most| format!("'MAXLEN', '~', '{most}', ")).unwrap_or_default();
                let fields =
                    format!("'{DATA}', ARGV[i + 2], '{ID}', ARGV[i + 3], '{SENDER_ID}', ARGV[i + 4], '{TYPE}', ARGV[i + 5]");
                let header = trunkline_core::EXPORT_HEADER;
                let add = format!(
                    "export == '' and redis.pcall('XADD', key, {trim}'*', {fields}) \
                     or redis.pcall('XADD', key, {trim}'*', {fields}, '{header}', export)"
                );
                (6, add)
            }
        };
        let trim = match (structure, end, most) {
            (Structure::List, End::Right, Some(most)) => TRIM.replace("FIRST", &format!("'-{most}'")).replace("LAST", "'-1'"),
            (Structure::List, End::Left, Some(most)) => TRIM.replace("FIRST", "'0'").replace("LAST", &format!("'{}'", most - 1)),
            _ => String::new(),
        };
        let code = CODE
            .replace("STRUCTURE", structure.name())
            .replace("WIDTH", &width.to_string())
            .replace("ADD", &add)
            .replace("TRIM", &trim);
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
        for &(event, key) in &entries.list {
            let Some(event) = events(event) else { continue };
            command.arg(key + 1).arg(event.offset).arg(&event.body[..]);
            if self.structure == Structure::Stream {
                command.arg(event.id.to_string()).arg(event.conversation.as_str()).arg(event.event_type.as_str());
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
