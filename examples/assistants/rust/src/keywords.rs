//! Assistant `keywords`: the answer of the first keyword that stands in a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline::assistant::{Assistant, AssistantError, BotMessage, Section, Turn, UserMessage, async_trait};

/// Builds the assistant from the section `assistant` of `trunkline.yml`. It touches nothing: `trunkline check` runs this on a laptop.
pub(crate) fn from_section(section: &Section<'_>, _project: &Path, _turn: Duration) -> Option<Arc<dyn Assistant>> {
    let answers = section.required("answers", Section::string_map);
    let otherwise = section.required_string("otherwise");
    let answers = answers?.into_iter().map(|(keyword, answer)| (keyword.to_lowercase(), answer)).collect();
    Some(Arc::new(Keywords { answers, otherwise: otherwise? }))
}

struct Keywords {
    /// Keywords in lower case, in the order of the file.
    answers: Vec<(String, String)>,
    otherwise: String,
}

#[async_trait]
impl Assistant for Keywords {
    fn name(&self) -> &'static str {
        "keywords"
    }

    /// What is said is recorded, and shown after that. An error is told to the operator, and the person gets the apology of the
    /// section.
    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        for message in messages {
            let text = message.text.as_deref().unwrap_or_default().to_lowercase();
            let found = self.answers.iter().find(|(keyword, _)| text.contains(keyword));
            turn.say(BotMessage::text(found.map_or(&self.otherwise, |(_, answer)| answer))).await?;
        }
        Ok(())
    }
}
