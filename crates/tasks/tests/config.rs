//! Task files: the provided ones hold, and mistakes are answered with place and remedy.

use indexmap::IndexMap;
use tasks::{
    Amount, AnswerBatch, Data, Engine, Head, Judged, LastBatch, PROVIDED, Source, Targets, Task, TaskConfig,
    mini::PretrainData, provided,
};

fn nlu() -> &'static str {
    PROVIDED.iter().find(|(name, _)| *name == "nlu").unwrap().1
}

/// The error of a provided file with one text replaced, and its hint.
fn broken(name: &str, from: &str, to: &str) -> String {
    let text = PROVIDED.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(text.contains(from), "`{from}` is not in {name}");
    let error = TaskConfig::parse(&text.replacen(from, to, 1), "t.toml").unwrap_err();
    format!("{error} | {}", error.hint().unwrap_or_default())
}

fn line(name: &str, needle: &str) -> usize {
    let text = PROVIDED.iter().find(|(known, _)| *known == name).unwrap().1;
    text.lines().position(|line| line.contains(needle)).unwrap() + 1
}

#[test]
fn every_provided_file_parses_under_its_name_and_survives_writing() {
    for (name, text) in PROVIDED {
        let config = TaskConfig::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.name, *name);
        let written = TaskConfig::parse(&config.to_toml(), name).unwrap();
        assert_eq!(written, TaskConfig { presets: IndexMap::new(), ..config });
    }
}

#[test]
fn every_preset_of_every_provided_file_holds_and_changes_something() {
    let mut presets = 0;
    for (name, text) in PROVIDED {
        let config = TaskConfig::parse(text, name).unwrap();
        for preset in config.presets.keys() {
            let changed = config.preset(preset).unwrap_or_else(|error| panic!("{error}"));
            assert_ne!(changed, TaskConfig { presets: IndexMap::new(), ..config.clone() }, "{name} {preset}");
            presets += 1;
        }
    }
    assert!(presets > 30, "{presets}");
}

#[test]
fn presets_replace_by_path_and_merge_tables() {
    let text = format!(
        "{}\n[presets.other]\n\"scoring.engine\" = {{ option = {{ answer = \"answer\" }} }}\n\
         [presets.other.training]\nsteps = 7\nclip.norm = 2.0\n[presets.bad]\n\"training.stesp\" = 1\n",
        nlu()
    );
    let config = TaskConfig::parse(&text, "nlu.toml").unwrap();
    let other = config.preset("other").unwrap();
    assert_eq!(other.training.steps, Some(7));
    assert_eq!(other.training.clip.map(|clip| clip.norm), Some(2.0));
    assert_eq!(other.training.clip.map(|clip| clip.scope), config.training.clip.map(|clip| clip.scope));
    assert_eq!(other.scoring.engine, Engine::Option { answer: "answer".into() });
    assert!(other.presets.is_empty());

    let error = config.preset("othre").unwrap_err();
    assert_eq!(error.to_string(), "`nlu`: no preset is called `othre`");
    assert_eq!(error.hint().unwrap(), "did you mean `other`?");
    let error = config.preset("bad").unwrap_err();
    assert!(error.to_string().starts_with("`nlu, preset bad`: unknown field `stesp`"), "{error}");
}

#[test]
fn the_last_batch_of_answers_can_be_dropped() {
    let reference = provided("gsm8k-lori").unwrap().preset("reference").unwrap();
    assert_eq!(reference.decoding.judged, Judged::PromptAndAnswer);
    let batch = reference.decoding.batch.unwrap();
    assert_eq!(batch.answered(1319), 1280, "as in the evaluation of LoRI");
    assert_eq!(AnswerBatch { last: LastBatch::Keep, ..batch }.answered(1319), 1319);
}

#[test]
fn heads_are_checked() {
    let Some(Head::Classes(classes)) = provided("cola").unwrap().head else { panic!("cola has classes") };
    assert_eq!(classes, ["0", "1"]);
    assert_eq!(provided("stsb").unwrap().head, Some(Head::Value));
    assert!(broken("cola", "[\"0\", \"1\"]", "[\"0\", \"0\"]").contains("`classes` has `0` twice"));
    assert!(broken("cola", "[\"0\", \"1\"]", "[\"0\"]").contains("`classes` needs at least two"));
    assert!(broken("cola", "[\"0\", \"1\"]", "[\"1\", \"2\"]").contains("the engine knows no class `2`"));
    assert!(broken("squad", "second = ", "# second = ").contains("`span` is a part of `prompt.second`"));
    assert!(broken("squad", "starts = \"starts\"", "starts = \"stars\"").ends_with("did you mean `starts`?"));
    assert!(broken("rte", "head = ", "# head = ").contains("`second` needs a `head`"));
}

#[test]
fn a_typo_is_answered_with_line_and_nearest_name() {
    let at = line("nlu", "batch_size");
    let error = broken("nlu", "batch_size", "batchsize");
    assert!(
        error.starts_with(&format!("`t.toml` line {at}: unknown field `batchsize`, expected")),
        "{error}"
    );
    assert!(error.ends_with("| did you mean `batch_size`?"), "{error}");

    let at = line("nlu", "reverse = 20");
    let error = broken("nlu", "reverse = 20", "revers = 20");
    assert!(error.starts_with(&format!("`t.toml` line {at}: unknown field `revers`")), "{error}");
    assert!(error.ends_with("did you mean `reverse`?"), "{error}");

    let error = broken("nlu", "first_word", "frist_word");
    assert!(error.ends_with("did you mean `first_word`?"), "{error}");
    let error = broken("code", "step_limit", "steplimit");
    assert!(error.contains(&format!("line {}", line("code", "step_limit"))), "{error}");
    assert!(error.ends_with("did you mean `step_limit`?"), "{error}");
    let error = broken("gsm8k", "hashed_of_train", "hash_of_train");
    assert!(error.ends_with("did you mean `hashed_of_train`?"), "{error}");
}

#[test]
fn contradictions_are_answered_with_their_line() {
    let cases = [
        ("nlu", "{question} ?", "{qestion} ?", "template", "no field `qestion`", "did you mean `question`?"),
        (
            "nlu",
            "answer = \"answer\"",
            "answer = \"anwser\"",
            "engine =",
            "no field `anwser`",
            "did you mean `answer`?",
        ),
        ("nlu", "\"accuracy\"", "\"acuracy\"", "metrics", "no metric `acuracy`", "did you mean `accuracy`?"),
        ("nlu", "version = 1", "version = 2", "metrics", "computed in version 1, not in version 2", ""),
        ("nlu", "test = 20", "test = 30", "split_percent", "sums to 110, not to 100", ""),
        ("math", "boxes = 30", "boxes = 130", "boxes = ", "`boxes = 130` is no percentage", ""),
        ("safety", "test = 1000", "test = 1001", "items", "must be even", ""),
        ("gsm8k", "epochs = 3", "epochs = 3\nsteps = 3", "epochs", "exactly one of `steps` and `epochs`", ""),
        ("gsm8k", "warmup = 0.03", "warmup = 1.5", "warmup", "fraction of the run", ""),
        ("gsm8k", "'#### (-?[0-9.,]+)'", "'#### (-?[0-9.,]+'", "answer_rules", "unclosed group", ""),
        (
            "gsm8k",
            "from = \"answer\"",
            "from = \"anser\"",
            "rewrite",
            "no field is called",
            "did you mean `answer`?",
        ),
    ];
    for (name, from, to, place, reason, hint) in cases {
        let error = broken(name, from, to);
        assert!(error.contains(reason), "{error}");
        assert!(error.starts_with(&format!("`t.toml` line {}: ", line(name, place))), "{place}: {error}");
        assert!(error.ends_with(&format!("| {hint}")), "{error}");
    }
}

#[test]
fn an_unknown_task_is_answered_with_the_nearest() {
    let error = provided("maths").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `math`?");
    let hint = provided("handwriting").unwrap_err().hint().unwrap();
    assert!(hint.starts_with("known: nlu, math, code, safety, gsm8k, "), "{hint}");
}

#[test]
fn overrides_replace_and_are_checked() {
    let config = TaskConfig::parse(nlu(), "nlu.toml").unwrap();
    let other = config
        .with(
            &[("training.steps", "30"), ("training.warmup", "0.1"), ("training.model", "some/dir")],
            "--set",
        )
        .unwrap();
    assert_eq!(other.training.steps, Some(30));
    assert_eq!(other.training.warmup, Amount::Fraction(0.1));
    assert_eq!(other.training.model, "some/dir");
    let names = config.with(&[("training.targets", "[\"q_proj\", \"v_proj\"]")], "--set").unwrap();
    assert_eq!(names.training.targets, Targets::Names(vec!["q_proj".into(), "v_proj".into()]));

    let error = config.with(&[("training.stesp", "30")], "--set").unwrap_err();
    assert!(error.to_string().starts_with("`--set`: unknown field `stesp`"), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `steps`?");
    let error = config.with(&[("name.first", "1")], "--set").unwrap_err();
    assert_eq!(error.to_string(), "`--set`: `name.first`: what holds `first` is no table");
}

#[test]
fn a_files_task_without_a_folder_says_what_to_do() {
    let error = Task::load(provided("viggo").unwrap(), None).unwrap_err();
    assert_eq!(error.to_string(), "task `viggo` reads files and no data folder was given");
    assert_eq!(
        error.hint().unwrap(),
        "name the folder with `--data DIR`, or a repository of the hub with `--data hf:OWNER/NAME`"
    );
}

#[test]
fn sources_are_words() {
    assert_eq!(provided("nlu").unwrap().data.source(), "builtin:nlu");
    let Data::Files(files) = provided("gsm8k").unwrap().data else { panic!("gsm8k reads files") };
    assert_eq!(files.splits.validation, Source::HashedOfTrain(500));
}

#[test]
fn amounts_are_steps_or_fractions() {
    assert_eq!(Amount::Steps(7).steps(100), 7);
    assert_eq!(Amount::Fraction(0.25).steps(30), 8);
    assert_eq!(Amount::Fraction(1.0).steps(30), 30);
}

#[test]
fn pretraining_files_have_lines_too() {
    let text = tasks::PRETRAIN_MINI;
    let at = text.lines().position(|line| line.starts_with("stories")).unwrap() + 1;
    let error = PretrainData::parse(&text.replacen("stories", "storys", 1), "p.toml").unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("`p.toml` line {at}: unknown variant `storys`")),
        "{error}"
    );
    assert_eq!(error.hint().unwrap(), "did you mean `stories`?");
}

#[test]
fn tests_of_programs_are_checked() {
    let code = provided("code").unwrap();
    let scoring = |metric: &str, program: &str, memory: u32| {
        format!(
            "{{ metrics = [{{ name = \"{metric}\", version = 1 }}], engine = {{ tests = {{ program = \"{program}\", \
             code = \"whole\", stop = [], timeout_seconds = 1, memory_mb = {memory} }} }} }}"
        )
    };
    let failure = |overrides: &[(&str, &str)]| code.with(overrides, "--set").unwrap_err().to_string();
    let fine = scoring("pass@10", "{output}{task}", 64);
    let sampled = ("decoding.strategy", "{ sample = { temperature = 0.8, top_p = 0.95 } }");
    let config = code.with(&[("scoring", &fine), sampled, ("decoding.samples", "10")], "--set").unwrap();
    assert_eq!(config, TaskConfig::parse(&config.to_toml(), "again").unwrap());

    for (overrides, reason) in [
        (
            &[("scoring", fine.as_str())][..],
            "`pass@10` needs 10 samples of each item, and `decoding.samples` is 1",
        ),
        (&[("decoding.samples", "0")], "`samples` must be positive"),
        (&[("decoding.samples", "4")], "only `{ sample = … }` gives answers that differ"),
        (
            &[("scoring", &scoring("pass@1", "{task}", 64))],
            "`program` must use `{output}`, the code of the answer",
        ),
        (&[("scoring", &scoring("pass@1", "{output}{tsk}", 64))], "the data have no field `tsk`"),
        (
            &[("scoring", &scoring("pass@1", "{output}", 8))],
            "`memory_mb` must be at least 64: Python itself needs 30",
        ),
        (&[("scoring", &scoring("pass@2", "{output}", 64))], "the engine computes no metric `pass@2`"),
    ] {
        assert_eq!(failure(overrides), format!("`--set`: {reason}"));
    }
}
