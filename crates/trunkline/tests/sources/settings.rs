//! `sources` of `trunkline.yml`.

use trunkline::{Overrides, Project as Files};
use trunkline_config::{Diagnostics, Style};
use trunkline_testkit::Project;

#[test]
fn every_mistake_is_named_with_its_place() {
    let settings = "\
sources:
  - type: webhook
  - type: redsi
  - url: redis://localhost
  - {name: a/b, type: redis, url: redis://localhost}
  - {type: redis, url: redis://localhost, kye: x}
  - {type: redis, url: redis://localhost}
";
    let project = Project::new().file("trunkline.yml", settings);
    let diagnostics = Diagnostics::new();
    assert!(Files::new(project.directory(), Overrides::default(), trunkline::adapters()).plan(&diagnostics).is_none());
    let text = diagnostics.render(Style::Plain).replace(&format!("{}/", project.directory().display()), "");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    for (error, expected) in errors.iter().zip([
        "trunkline.yml:2:5: sources[0].type: events cannot be read from type `webhook`; they can be read from: ",
        "trunkline.yml:3:5: sources[1].type: unknown broker type `redsi`; did you mean `redis`?; events can be read from: ",
        "trunkline.yml:4:5: sources[2].type: required key is missing",
        "trunkline.yml:5:12: sources[3].name: expected 1 to 64 letters, digits, `-`, `_` and `.`",
        "trunkline.yml:6:43: sources[4].kye: unknown key `kye`",
        "trunkline.yml:7:6: sources[5].name: two sources are called `redis`",
    ]) {
        assert!(error.starts_with(&format!("error: {expected}")), "{error}\nis not\n{expected}");
    }
    assert_eq!(errors.len(), 6, "{text}");
}

#[test]
fn a_source_is_called_after_its_type_unless_it_has_a_name() {
    let settings =
        "sources:\n  - {type: redis, url: \"redis://localhost\"}\n  - {name: eu.1, type: redis, url: \"redis://localhost\"}\n";
    let project = Project::new().file("trunkline.yml", settings);
    let diagnostics = Diagnostics::new();
    let plan = Files::new(project.directory(), Overrides::default(), trunkline::adapters()).plan(&diagnostics);
    let names: Vec<_> = plan.unwrap().sources.into_iter().map(|source| (source.name, source.kind)).collect();
    assert_eq!(names, [("redis".to_owned(), "redis"), ("eu.1".to_owned(), "redis")]);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
}
