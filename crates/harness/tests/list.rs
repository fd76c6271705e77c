//! What is listed is what is registered.

mod common;

use common::{run, text};
use methods::METHODS;

#[test]
fn methods_are_listed_with_what_the_registry_declares() {
    let output = run(&["list", "methods"]);
    assert!(output.status.success(), "{}", text(&output));
    let listed = text(&output);
    for info in METHODS {
        let word = |capability: bool| if capability { "yes" } else { "–" };
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(info.name));
        let line = line.unwrap_or_else(|| panic!("{} is not listed:\n{listed}", info.name));
        let cells: Vec<&str> = line.split_whitespace().collect();
        let capabilities = info.capabilities;
        let expected = [
            word(capabilities.merge),
            word(capabilities.quantized_base),
            word(capabilities.lora_export),
            info.peft.map_or("–", |format| format.peft_type),
        ];
        assert_eq!(cells[2..6], expected, "{line}");
        assert!(line.contains(info.count_formula) && line.contains(info.paper.arxiv), "{line}");
    }
}
