//! Exchange with PEFT's method comparison, on files written by hand after its schema.

mod sample;

use std::fs;
use std::path::Path;

use compare::hf::{
    Context, ResultFile, Rules, UnknownMemory, export, export_folder, file_name, import, import_folder, read,
};
use compare::stats::{Settings, wilson};
use compare::table::{TerminalStyle, results, terminal};
use compare::{Evidence, Run, Status, entries, rank_all};
use sample::run;
use serde_json::{Map, Value, json};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hf"))
}

fn imported(name: &str) -> Run {
    let file = read(&folder().join(name)).unwrap();
    import(&file, &Rules::metamathqa(), name).unwrap()
}

fn sample_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

fn exported(run: &Run, context: &Context) -> compare::Result<ResultFile> {
    let runs = [run.clone()];
    let entries = entries(&runs)?;
    export(&entries[0], context, &Settings::default())
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn a_current_file() {
    let Run { record, evidence } = imported("lora--rank32.json");
    assert_eq!(evidence, Evidence::Counts);
    assert_eq!((record.method.as_str(), record.family.as_str(), record.seed), ("hf:lora/rank32", "lora", 0));
    assert_eq!((record.task.as_str(), record.model.name.as_str()), ("MetaMathQA", "example/tiny-3B"));
    assert_eq!(record.status, Status::Success);
    let metric = |name: &str| record.metric(name).unwrap().clone();
    assert_eq!((record.metrics[0].name.as_str(), metric("accuracy").items), ("accuracy", Some(1319)));
    assert!((metric("accuracy").value - 631.0 / 1319.0).abs() < 1e-15);
    assert_eq!((metric("forgetting").value, metric("forgetting").version.as_str()), (0.05, "c0ffee"));
    // Step time is the sum of the windows, not `train_time`.
    assert_eq!((record.total.train_seconds, record.evaluation_seconds), (Some(62.0), Some(138.25)));
    assert_eq!((record.total.steps, record.phases[0].tokens), (Some(500), Some(419_805)));
    assert_eq!(record.curves.validation["accuracy"].len(), 2);
    assert_eq!(record.memory.peak_bytes, Some(22_273_851_392));
    assert_eq!(record.parameters.trainable, Some(9_175_040));
    assert!((record.parameters.trainable_percent.unwrap() - 0.284_769).abs() < 1e-6);
    assert_eq!(record.environment.device.as_deref(), Some("Example GPU"));
    assert_eq!(record.environment.git.unwrap().dirty, Some(false));
}

#[test]
fn an_older_file() {
    let record = imported("vera--default.json").record;
    assert_eq!(record.memory.p99_bytes, Some(17_710_763_212));
    assert_eq!((record.parameters.trainable, record.parameters.trainable_percent), (None, None));
    assert_eq!(record.adapter_bytes, None);
    assert!(record.metric("forgetting").is_none());
    assert_eq!(record.environment.git.unwrap().dirty, None);
    assert_eq!(record.environment.device.as_deref(), Some("Example GPU"));
}

#[test]
fn full_fine_tuning_and_the_placeholder() {
    let record = imported("full-finetuning--lr-1e-5.json").record;
    assert_eq!(record.family, "full-finetuning");
    assert_eq!(record.parameters.trainable_percent, Some(100.0));
    assert!(record.metric("forgetting").is_none());
}

#[test]
fn a_failed_run_keeps_what_it_measured() {
    let record = imported("boft--default.json").record;
    assert_eq!(record.status, Status::Failed { reason: "CUDA out of memory".into() });
    assert!(record.metrics.is_empty());
    assert_eq!(record.curves.loss.len(), 1);
}

#[test]
fn the_image_suite() {
    let file = read(&folder().join("image-gen/lora--flux.json")).unwrap();
    let run = import(&file, &Rules::image_gen(), "flux").unwrap();
    assert_eq!((run.record.metrics[0].value, run.record.metric("drift").unwrap().value), (0.697, 0.262));
    assert_eq!(run.record.curves.validation["dino_similarity"].len(), 2);
    // It ends 20 steps after its last window, so the time of all steps is not known.
    assert_eq!((run.record.total.steps, run.record.total.train_seconds), (Some(520), None));
    // The loss of the first window is a bare `NaN`, as Python writes it.
    assert_eq!(run.record.curves.loss.len(), 1);
    let runs = [run];
    let pooled = entries(&runs).unwrap()[0].pooled("dino_similarity", &Settings::default()).unwrap().unwrap();
    assert!(pooled.interval.is_none());
}

#[test]
fn a_folder_gives_the_newest_success_of_each_experiment() {
    let selection = import_folder(folder(), &Rules::metamathqa()).unwrap();
    let methods: Vec<_> = selection.runs.iter().map(|r| r.record.method.as_str()).collect();
    assert_eq!(methods, ["hf:vera/default", "hf:lora/rank32", "hf:full-finetuning/lr-1e-5"]);
    assert!((selection.runs[1].record.metrics[0].value - 631.0 / 1319.0).abs() < 1e-15);
    let mut reasons: Vec<_> = selection.left_out.iter().map(|l| l.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["a newer run took its place", "it failed: CUDA out of memory"]);

    let entries = entries(&selection.runs).unwrap();
    let rankings = rank_all(&entries, &Settings::default()).unwrap();
    let expected = wilson(631.0, 1319.0, 0.95);
    let ours = rankings[0].rows[0].pooled.interval.unwrap();
    assert!((ours.low - expected.low).abs() < 1e-12 && (ours.high - expected.high).abs() < 1e-12);
    let text = terminal(&results(&rankings), TerminalStyle::PLAIN);
    insta::assert_snapshot!(text);
}

#[test]
fn broken_files_are_named() {
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut value = sample_json("lora--rank32.json");
        change(&mut value);
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        fs::write(file.path(), value.to_string()).unwrap();
        let error = read(file.path())
            .and_then(|read| import(&read, &Rules::metamathqa(), &file.path().display().to_string()))
            .unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()));
        error.to_string()
    };
    assert!(broken(&|v| v["train_info"]["status"] = "ok".into()).ends_with("its status is `ok`"));
    assert!(
        broken(&|v| drop(v["train_info"]["metrics"].as_array_mut().unwrap().pop()))
            .ends_with("is no test row")
    );
    assert!(
        broken(&|v| v["run_info"]["created_at"] = "yesterday".into()).contains("`created_at` is `yesterday`")
    );
    assert!(
        broken(&|v| v["train_info"]["metrics"] = 1.into())
            .ends_with("not a valid result of PEFT's method comparison")
    );
    assert!(broken(&|v| v["generation_info"] = json!({})).contains("`text_generation_benchmark`"));
}

#[test]
fn a_file_survives_import_and_export() {
    for name in ["lora--rank32.json", "full-finetuning--lr-1e-5.json"] {
        let run = imported(name);
        let context = Context::of_imported(&run.record).unwrap();
        assert_eq!(file_name(&context.experiment), name);
        let ours = serde_json::to_value(exported(&run, &context).unwrap()).unwrap();
        let mut theirs = sample_json(name);
        // Rows of windows lose their times and memory, which no record holds; the placeholder is not written.
        let rows = theirs["train_info"]["metrics"].as_array_mut().unwrap();
        for row in rows.iter_mut() {
            let row = row.as_object_mut().unwrap();
            row.retain(|key, _| {
                !["train time", "eval time", "elapsed time", "tokens / sec"].contains(&key.as_str())
                    && !key.starts_with("mem ")
            });
            row.shift_remove("forgetting").filter(|v| *v != 123).map(|v| row.insert("forgetting".into(), v));
        }
        for row in &mut rows[..2] {
            row["train samples"] = Value::Null;
        }
        for section in ["run_info", "train_info", "meta_info"] {
            assert_eq!(ours[section], theirs[section], "{section} of {name}");
        }
    }
}

#[test]
fn our_run_survives_export_and_import() {
    let mut ours = run("lori-d", "gsm8k", 4, 0.6);
    ours.record.memory.mean_bytes = Some(2_000_000);
    ours.record.memory.p99_bytes = Some(2_500_000);
    let context = Context {
        experiment: "lori-d/tiny-rank8".into(),
        train_config: map(&json!({"dtype": "float32", "optimizer_kwargs": {"lr": 0.001}})),
        peft_config: Some(map(&json!({"peft_type": "LORA", "r": 8}))),
        ..Context::default()
    };
    let file = exported(&ours, &context).unwrap();
    let text = serde_json::to_string(&file).unwrap();
    let read: ResultFile = serde_json::from_str(&text).unwrap();
    assert_eq!(read, file);
    let again = import(&read, &Rules::metamathqa(), "again").unwrap().record;
    let ours = &ours.record;
    assert_eq!((again.task.as_str(), again.seed), ("gsm8k", 4));
    assert_eq!(again.metrics[0], ours.metrics[0]);
    assert_eq!((again.total.clone(), again.memory.clone()), (ours.total.clone(), ours.memory.clone()));
    assert!((again.evaluation_seconds.unwrap() - ours.evaluation_seconds.unwrap()).abs() < 1e-9);
    assert_eq!(
        (again.parameters.trainable, again.adapter_bytes),
        (ours.parameters.trainable, ours.adapter_bytes)
    );
    assert!(
        (again.parameters.trainable_percent.unwrap() - ours.parameters.trainable_percent.unwrap()).abs()
            < 1e-12
    );
    assert_eq!(again.curves.validation, ours.curves.validation);
    assert_eq!(again.model, ours.model);

    // What the app reads by name is there, and numbers where it wants numbers.
    let json = serde_json::to_value(&file).unwrap();
    for package in ["transformers", "peft", "datasets", "bitsandbytes", "torch"] {
        assert!(json["meta_info"]["package_info"].get(format!("{package}-version")).is_some());
    }
    let last = json["train_info"]["metrics"].as_array().unwrap().last().unwrap();
    for key in ["test accuracy", "train loss", "train samples", "train total tokens"] {
        assert!(last[key].is_number(), "{key}");
    }
    assert_eq!(json["run_info"]["created_at"], "2025-11-21T10:15:04+00:00");
    assert_eq!(json["run_info"]["train_config"]["model_id"], "builtin:mini");
    assert_eq!(json["train_info"]["train_time"], 76.25 + 8.5);
    assert_eq!(json["compare"]["step_seconds"], 76.25);
    assert_eq!(json["compare"]["seeds"][0]["id"], ours.id);
}

#[test]
fn unknown_memory_is_zero_only_on_request_and_comes_back_unknown() {
    let mut ours = run("lora", "gsm8k", 0, 0.6);
    ours.record.memory = compare::Memory::default();
    let mut context = Context {
        experiment: "lora/x".into(),
        peft_config: Some(map(&json!({"peft_type": "LORA"}))),
        ..Context::default()
    };
    let refused = exported(&ours, &context).unwrap_err().to_string();
    assert!(refused.ends_with("`accelerator_memory_reserved_avg` is unknown, and the app needs a number"));
    context.unknown_memory = UnknownMemory::Zero;
    let file = exported(&ours, &context).unwrap();
    assert_eq!(file.train_info.accelerator_memory_max, Some(0));
    assert_eq!(file.extra.as_ref().unwrap().zero_means_unknown.len(), 3);
    assert_eq!(import(&file, &Rules::metamathqa(), "x").unwrap().record.memory, compare::Memory::default());
}

#[test]
fn what_has_no_place_in_the_format_is_refused() {
    let good = Context {
        experiment: "lora/x".into(),
        peft_config: Some(map(&json!({"peft_type": "LORA"}))),
        unknown_memory: UnknownMemory::Zero,
        ..Context::default()
    };
    let refuse = |method: &str, change: &dyn Fn(&mut Run, &mut Context)| {
        let (mut run, mut context) = (run(method, "gsm8k", 0, 0.6), good.clone());
        change(&mut run, &mut context);
        exported(&run, &context).unwrap_err().to_string()
    };
    assert!(refuse("base", &|_, _| ()).ends_with("no place for the unadapted model"));
    assert!(refuse("lora", &|_, c| c.experiment = "lora".into()).ends_with("expected `<method>/<name>`"));
    assert!(
        refuse("lora", &|_, c| drop(c.train_config.insert("lr".into(), 1.into())))
            .ends_with("has no key `lr`")
    );
    assert!(refuse("lora", &|_, c| c.peft_config = Some(Map::new())).ends_with("lacks its `peft_type`"));
    assert!(
        refuse("lora", &|_, c| c.metric = Some("length".into())).ends_with("`length` is not an accuracy")
    );
    assert!(refuse("lora", &|_, c| c.peft_config = None).ends_with("would pass for full fine-tuning"));
    assert!(refuse("lora", &|_, c| c.metric = Some("f1".into())).ends_with("it has no such metric"));
    assert!(
        refuse("lora", &|r, _| r.record.evaluation_seconds = None)
            .ends_with("its evaluation time is unknown")
    );
    assert!(
        refuse("lora", &|r, _| r.record.phases[0].samples = None)
            .contains("number of training samples is unknown")
    );
}

#[test]
fn a_set_of_ours_becomes_a_folder_and_comes_back() {
    let mut runs = vec![run("base", "nlu", 0, 0.2), run("lora", "nlu", 0, 0.6), run("full", "nlu", 0, 0.7)];
    for run in runs.iter_mut().skip(1) {
        run.record.memory = compare::Memory { peak_bytes: Some(7), ..compare::Memory::default() };
        run.record.config = json!({
            "task": {"training": {"max_length": 256, "batch_size": 32, "schedule": "linear"}},
            "method": {"settings": {"optimizer": {"lr": 0.004}}},
        });
    }
    runs[2].record.parameters = compare::Parameters::counted(2_600_000, 0, 2_600_000);
    let adapter = |record: &compare::RunRecord| {
        let peft_type = if record.method == "full" { "FULL" } else { "LORA" };
        Some(map(&json!({"peft_type": peft_type, "r": 8})))
    };
    let folder = tempfile::tempdir().unwrap();
    let entries = entries(&runs).unwrap();
    let exported = export_folder(folder.path(), &entries, adapter, &Settings::default()).unwrap();
    let names: Vec<_> = exported
        .written
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["nlu/lora--lora-nlu.json", "nlu/full--full-nlu.json"]);
    assert_eq!(exported.left_out.len(), 1, "{:?}", exported.left_out);
    assert!(exported.left_out[0].reason.contains("unadapted model"));

    let file = read(&exported.written[0]).unwrap();
    let config = &file.run_info.train_config;
    assert_eq!((&config["max_seq_length"], &config["optimizer_kwargs"]["lr"]), (&json!(256), &json!(0.004)));
    assert_eq!(file.run_info.peft_config.as_ref().unwrap()["peft_type"], "LORA");
    assert_eq!(file.extra.as_ref().unwrap().zero_means_unknown.len(), 2);
    assert_eq!(read(&exported.written[1]).unwrap().run_info.peft_config, None);
    // Read again it is the same score, with what was not measured unknown.
    let back = import_folder(&folder.path().join("nlu"), &Rules::metamathqa()).unwrap();
    let lora = &back.runs.iter().find(|run| run.record.method == "hf:lora/lora-nlu").unwrap().record;
    assert_eq!(lora.metrics[0].value, runs[1].record.metrics[0].value);
    assert_eq!((lora.memory.mean_bytes, lora.memory.peak_bytes), (None, Some(7)));
}
