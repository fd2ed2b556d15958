//! REST messages: a person's message in, both events durable, the assistant's answer out.

use crate::{
    Bench,
    compare::Case,
    load::Expect,
    report::{Aim, Figure, Report},
    request::{Template, rest_message},
};

/// Where REST messages are posted.
pub(crate) const PATH: &str = "/webhooks/rest/webhook";
/// REST messages a second that Rasa 3.6.21 answers on two cores with a file broker.
const RASA: f64 = 273.0;

/// Measures with every number of clients, and states each rate as a multiple of Rasa's.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    for &clients in &bench.clients {
        let case = Case {
            group: "rest",
            what: "message".to_owned(),
            clients,
            template: Template::post(PATH, &rest_message()),
            expect: Expect::Messages,
            aim: None,
        };
        let Some(comparison) = case.measure(bench, report).await else {
            continue;
        };
        let multiples = comparison.rounds.iter().map(|round| round.trunkline.rate / RASA).collect();
        report.figures.push(Figure::new(
            "rest",
            format!("{clients} clients, times Rasa's 273/s"),
            "×",
            multiples,
            (clients == 64).then_some(Aim::AtLeast(50.0)),
        ));
    }
}
