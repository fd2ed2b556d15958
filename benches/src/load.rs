//! The load: keep-alive clients that send one request after another and wait for each answer.
//!
//! It shares the cores with what it measures, so it does as little as it can: no allocation, no timer and no lock between two
//! requests, one write for a request and, as a rule, one read for its answer. It knows just enough HTTP/1.1 for that: an answer
//! must carry a `content-length`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time,
};

use crate::{histogram::Histogram, report::Sample, request::Template, server::Server};

/// What is sent before counting begins, so that connections, caches and files are warm.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long an answer may still take when the time is up.
const GRACE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What a right answer looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Any 2xx.
    Accepted,
    /// 200 with a JSON array of at least one object.
    Messages,
}

impl Expect {
    /// Fails when the answer is not a right one; `thorough` parses it instead of looking at its ends.
    fn check(self, answer: &Answer<'_>, thorough: bool) -> anyhow::Result<()> {
        let right = match self {
            Self::Accepted => (200..300).contains(&answer.status),
            Self::Messages => {
                let body = answer.body.trim_ascii();
                answer.status == 200
                    && body.starts_with(b"[")
                    && body.ends_with(b"}]")
                    && (!thorough || serde_json::from_slice::<Vec<serde_json::Value>>(body).is_ok())
            }
        };
        ensure!(right, "a request was answered {}: {}", answer.status, answer.beginning());
        Ok(())
    }
}

/// An answer, in the buffer that it was read into.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// As much of the body as helps in a message.
    pub(crate) fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned()
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4_096] })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await.context("failed to send a request")?;
        let mut filled = 0;
        let mut head = None;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.context("failed to read an answer")?;
            ensure!(read > 0, "the server closed the connection in place of an answer");
            filled += read;
            if head.is_none() {
                head = Head::parse(&self.buffer[..filled])?;
            }
            if let Some(Head { status, length, body_length }) = head
                && filled >= length + body_length
            {
                ensure!(filled == length + body_length, "the server sent more than the answer");
                return Ok(Answer { status, body: &self.buffer[length..filled] });
            }
            if filled == self.buffer.len() {
                ensure!(filled < LARGEST_ANSWER, "an answer is larger than {LARGEST_ANSWER} bytes");
                self.buffer.resize(filled * 2, 0);
            }
        }
    }
}

/// The status line and headers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    body_length: usize,
}

impl Head {
    /// Reads the head at the beginning of the bytes; nothing when its end has not come yet.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix(b"HTTP/1.1 "))
            .and_then(|rest| number(rest.get(..3)?))
            .and_then(|status| u16::try_from(status).ok())
            .context("an answer does not begin with an HTTP/1.1 status line")?;
        let mut body_length = None;
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                bail!("an answer has a header without a colon");
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                body_length = Some(number(value).context("an answer has a content-length that is no number")?);
            }
            ensure!(
                !name.eq_ignore_ascii_case(b"transfer-encoding"),
                "an answer came chunked; this client reads only answers with a content-length"
            );
        }
        let body_length = body_length.context("an answer has no content-length")?;
        Ok(Some(Self { status, length: end + 4, body_length }))
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The status of a GET.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    Ok(Connection::open(address).await?.exchange(request.as_bytes()).await?.status)
}

/// The numbers of the next load; none of them has been used in this process.
fn fresh_numbers() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1 << 32, Ordering::Relaxed)
}

/// Sends the template from `clients` connections for `duration` after a warm-up, and says how that went.
pub(crate) async fn run(
    server: &Server,
    template: &Template,
    expect: Expect,
    clients: u16,
    duration: Duration,
) -> anyhow::Result<Sample> {
    let result = send(server, template, expect, clients, duration).await;
    result.map_err(|error| anyhow!("{error:#}{}", server.last_words()))
}

async fn send(server: &Server, template: &Template, expect: Expect, clients: u16, duration: Duration) -> anyhow::Result<Sample> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(server.address).await?);
    }
    let histogram = Arc::new(Histogram::new());
    let begin = Instant::now() + WARM_UP;
    let end = begin + duration;
    let first = fresh_numbers();
    let mut senders = JoinSet::new();
    for (connection, first) in connections.into_iter().zip(first..) {
        senders.spawn(
            Sender {
                connection,
                template: template.clone(),
                expect,
                numbers: (first..).step_by(usize::from(clients)),
                begin,
                end,
                histogram: Arc::clone(&histogram),
            }
            .run(),
        );
    }

    let finish = async {
        while let Some(result) = senders.join_next().await {
            result??;
        }
        anyhow::Ok(())
    };
    let processor = async {
        time::sleep_until(begin.into()).await;
        let before = (server.processor_time()?, server.others_time()?);
        time::sleep_until(end.into()).await;
        let after = (server.processor_time()?, server.others_time()?);
        Ok((after.0.saturating_sub(before.0), after.1.saturating_sub(before.1)))
    };
    let ((), (processor, others)) = time::timeout_at((end + GRACE).into(), async { tokio::try_join!(finish, processor) })
        .await
        .with_context(|| format!("a request was not answered in {} s", GRACE.as_secs()))??;

    let requests = histogram.count();
    ensure!(requests > 0, "no request was answered");
    Ok(Sample {
        requests,
        rate: requests as f64 / duration.as_secs_f64(),
        p50_us: histogram.quantile(0.50),
        p99_us: histogram.quantile(0.99),
        max_us: histogram.quantile(1.0),
        processor_us: processor.as_secs_f64() * 1e6 / requests as f64,
        others: others.as_secs_f64() / (duration.as_secs_f64() * std::thread::available_parallelism()?.get() as f64),
    })
}

/// One client at work.
#[derive(Debug)]
struct Sender<N> {
    connection: Connection,
    template: Template,
    expect: Expect,
    numbers: N,
    begin: Instant,
    end: Instant,
    histogram: Arc<Histogram>,
}

impl<N: Iterator<Item = u64>> Sender<N> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut thorough = true;
        let mut sent = Instant::now();
        for number in self.numbers {
            let answer = self.connection.exchange(self.template.numbered(number)).await?;
            self.expect.check(&answer, thorough)?;
            thorough = false;
            let answered = Instant::now();
            if answered >= self.end {
                break;
            }
            if answered >= self.begin {
                self.histogram.record(answered - sent);
            }
            sent = answered;
        }
        Ok(())
    }
}

/// Sends the template `times` times over four connections, as fast as it goes.
pub(crate) async fn fill(address: SocketAddr, template: &Template, times: u64) -> anyhow::Result<()> {
    const CONNECTIONS: u64 = 4;
    let first = fresh_numbers();
    let mut senders = JoinSet::new();
    for offset in 0..CONNECTIONS.min(times) {
        let mut connection = Connection::open(address).await?;
        let mut template = template.clone();
        senders.spawn(async move {
            for number in (offset..times).step_by(4) {
                let answer = connection.exchange(template.numbered(first + number)).await?;
                Expect::Accepted.check(&answer, false)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(result) = senders.join_next().await {
        result??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_head(bytes: &str, expected: Result<Option<(u16, usize)>, &str>) {
        let found = Head::parse(bytes.as_bytes());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.map(|head| (head.status, head.body_length)), expected);
            }
            (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
            (found, expected) => panic!("found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn heads_are_read_and_what_cannot_be_measured_is_refused() {
        check_head("HTTP/1.1 202 Accepted\r\nContent-Length: 11\r\n", Ok(None));
        check_head("HTTP/1.1 202 Accepted\r\nContent-Length: 11\r\n\r\n", Ok(Some((202, 11))));
        check_head("HTTP/1.1 503 \r\nretry-after:1\r\ncontent-length:0\r\n\r\n{}", Ok(Some((503, 0))));
        check_head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Err("chunked"));
        check_head("HTTP/1.1 200 OK\r\ndate: now\r\n\r\n", Err("no content-length"));
        check_head("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", Err("no number"));
        check_head("SSH-2.0\r\n\r\n", Err("status line"));
    }

    #[test]
    fn an_answer_without_messages_is_not_a_right_one() {
        for (status, body, right) in [
            (200, "[{\"recipient_id\":\"s1\",\"text\":\"hi\"}]", true),
            (200, "[]", false),
            (200, "{\"error\":\"late\"}", false),
            (503, "[{\"text\":\"hi\"}]", false),
        ] {
            let answer = Answer { status, body: body.as_bytes() };
            assert_eq!(Expect::Messages.check(&answer, true).is_ok(), right, "{status} {body}");
        }
    }
}
