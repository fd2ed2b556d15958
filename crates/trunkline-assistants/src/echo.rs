//! `type: echo`: says the user's text back.

use async_trait::async_trait;
use trunkline_core::{Assistant, AssistantError, BotMessage, Turn, UserMessage};

/// Says the user's text back, and nothing to a message without text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

#[async_trait]
impl Assistant for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        for text in messages.iter().filter_map(|message| message.text.as_deref()).filter(|text| !text.is_empty()) {
            turn.say(BotMessage::text(text)).await?;
        }
        Ok(())
    }
}
