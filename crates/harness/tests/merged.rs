//! A model answers alike through the slot and through merged weights, which go through other code: libtorch's layers, and
//! the step of small models.

mod common;

use common::{adapter, train};
use harness::adapter::attach;
use harness::evaluate::Examiner;
use harness::progress::Display;
use harness::session::Session;
use harness::solver::Solver;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, Seeds};
use tasks::{Permission, Split, Task};
use tch::Device;

#[test]
fn answers_are_those_of_the_slot() {
    let config =
        tasks::provided("nlu").unwrap().with(&[("data.builtin.nlu.items.test", "24")], "test").unwrap();
    tch::set_num_threads(1);
    let mut session = Session::for_task(&config, Device::Cpu, false, &Seeds::new(0)).unwrap();
    let task = Task::load(config, None).unwrap();
    let seeds = Seeds::new(5);
    let answers = |session: &Session<Box<dyn Solver>>| -> Vec<String> {
        let examiner = Examiner {
            task: &task,
            text: &session.text,
            batch_size: 16,
            permission: Permission::Isolated,
            seeds: &seeds,
            display: Display::Quiet,
        };
        let scored = examiner.score(&*session.learner, Split::Test, "test").unwrap();
        scored.outcomes.into_iter().map(|outcome| outcome.output).collect()
    };
    let base = answers(&session);
    for method in ["lora", "dora", "lori-d"] {
        let folder = train(method, &["--set", &format!("methods.{method}.optimizer.lr=0.02")]);
        let file = AdapterFile::read(&adapter(folder.path(), method)).unwrap();
        let (attachment, ..) = attach(&mut session.learner, "trained", &file, None).unwrap();
        session.learner.activate(&attachment.active());
        let through_the_slot = answers(&session);
        session.learner.merge();
        assert_eq!(answers(&session), through_the_slot, "{method}");
        assert_ne!(through_the_slot, base, "{method}: the adapter does something");
        session.learner.unmerge();
        attachment.detach(&mut session.learner);
        assert_eq!(answers(&session), base, "{method}: nothing is left of it");
    }
}
