//! `trunkline shell`: the assistant in the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::Value;
use tokio::runtime::Runtime;

use trunkline_gateway::{Adapters, Gateway, Overrides, Plan};

use super::ProjectArgs;
use super::client::Client;
use super::gist::shortened;
use super::output::{self, Failure, Outcome};
use super::serve::log_filter;

const CHANNEL: &str = "rest";
const PROMPT: &str = "You: ";
const BOT: Style = AnsiColor::Cyan.on_default();

/// How much longer than the assistant may take the shell waits, for messages that stand before this one.
const PATIENCE: Duration = Duration::from_secs(90);

/// Talk to the assistant in the terminal.
///
/// It talks to the gateway that runs on the project's journal; when none does, one is started for the time. /quit or Ctrl-D ends.
/// When standard input is no terminal, every line of it is a message.
#[derive(Args, Debug)]
pub(super) struct Shell {
    #[command(flatten)]
    project: ProjectArgs,
    /// The id of the conversation, to go on with one. [default: a new one]
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
}

impl Shell {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let overrides = Overrides { interface: Some("127.0.0.1".to_owned()), port: Some(0), ..self.project.overrides() };
        let plan = super::plan(&self.project.directory, overrides, adapters)?;
        if !plan.channels.iter().any(|channel| channel.name() == CHANNEL) {
            return Err(Failure::new("the shell talks through the channel `rest`; add a line `rest:` to credentials.yml"));
        }
        let conversation = self.conversation.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let patience = plan.assistant.timeout + PATIENCE;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (client, gateway) = runtime.block_on(connect(plan))?;
        let talk = Talk { runtime: &runtime, client, conversation, patience };
        let result = if io::stdin().is_terminal() { talk.interactively() } else { talk.line_by_line() };
        if let Some(gateway) = gateway {
            // A broker that does not answer is not waited for when nobody wants to.
            runtime.block_on(gateway.stop(async { drop(tokio::signal::ctrl_c().await) }));
        }
        result.map(|()| Outcome::Done)
    }
}

/// The running gateway, or one of our own.
async fn connect(plan: Plan) -> Result<(Client, Option<Gateway>), Failure> {
    if let Some(client) = Client::of_running(&plan.journal.directory)? {
        return Ok((client, None));
    }
    // Its log would stand between the lines of the conversation.
    tracing_subscriber::fmt().with_env_filter(log_filter("error")).with_writer(io::stderr).with_target(false).init();
    let gateway = Gateway::start(plan).await?;
    Ok((Client::at(gateway.address(), None)?, Some(gateway)))
}

struct Talk<'r> {
    runtime: &'r Runtime,
    client: Client,
    conversation: String,
    patience: Duration,
}

impl Talk<'_> {
    /// With a prompt, line editing and history.
    fn interactively(&self) -> Result<(), Failure> {
        let mut editor = DefaultEditor::new()?;
        output::print_line(format!(
            "Conversation {}, through the gateway at {}. /quit or Ctrl-D ends.",
            shortened(&self.conversation, 255),
            self.client.address()
        ))?;
        loop {
            let line = match editor.readline(PROMPT) {
                Ok(line) => line,
                // The line was given up, and not the conversation.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let message = line.trim();
            match message {
                "" => continue,
                "/quit" => return Ok(()),
                _ => {}
            }
            let _ = editor.add_history_entry(message);
            let answered = self.runtime.block_on(async {
                tokio::select! {
                    answered = self.say(message) => answered,
                    _ = tokio::signal::ctrl_c() => Err(Failure::new("the answer is not waited for; the message is recorded")),
                }
            });
            if let Err(failure) = answered {
                output::note(failure.to_string());
            }
        }
    }

    /// Every line is a message; the first that fails ends it.
    fn line_by_line(&self) -> Result<(), Failure> {
        for line in io::stdin().lock().lines() {
            let line = line?;
            match line.trim() {
                "" => {}
                "/quit" => break,
                message => self.runtime.block_on(self.say(message))?,
            }
        }
        Ok(())
    }

    async fn say(&self, message: &str) -> Result<(), Failure> {
        let print = |reply: &Value| output::print_lines(spoken(reply).into_iter().map(|line| format!("{BOT}{line}{BOT:#}")));
        self.client.say(&self.conversation, message, self.patience, print).await
    }
}

/// The lines of a reply: its text, its buttons with numbers, everything else as JSON.
fn spoken(reply: &Value) -> Vec<String> {
    let part = |key: &str| reply.get(key).filter(|value| !value.is_null());
    let mut lines = Vec::new();
    if let Some(text) = part("text") {
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        lines.extend(text.lines().map(|line| shortened(line, usize::MAX)));
    }
    let buttons = part("buttons").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    lines.extend(buttons.iter().enumerate().map(|(index, button)| {
        let word = |key: &str| button.get(key).and_then(Value::as_str).unwrap_or_default();
        shortened(&format!("{}: {} ({})", index + 1, word("title"), word("payload")), usize::MAX)
    }));
    for key in ["image", "attachment", "custom"] {
        lines.extend(part(key).map(|value| shortened(&format!("{key}: {value}"), usize::MAX)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_is_spoken_line_by_line() {
        let buttons = json!([{"title": "Yes", "payload": "/yes"}, {"title": "No", "payload": "/no"}]);
        for (reply, expected) in [
            (json!({"recipient_id": "u", "text": "Hi\nthere"}), vec!["Hi", "there"]),
            (json!({"text": "Sure?", "buttons": buttons}), vec!["Sure?", "1: Yes (/yes)", "2: No (/no)"]),
            (json!({"image": "https://x/y.png"}), vec![r#"image: "https://x/y.png""#]),
            (
                json!({"custom": {"b": 1, "a": [2]}, "attachment": {"x": null}}),
                vec![r#"attachment: {"x":null}"#, r#"custom: {"b":1,"a":[2]}"#],
            ),
            (json!({"text": "\u{1b}[2J"}), vec!["\\u{1b}[2J"]),
            (json!([]), vec![]),
        ] {
            assert_eq!(spoken(&reply), expected, "{reply}");
        }
    }
}
