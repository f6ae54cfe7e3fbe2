"""Every error's full sentence, and that no error goes without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine import errors as e

ROOT = Path(__file__).parents[1]

# One or more rows per class: a new class gets a row here, or a test that names it.
SENTENCES = [
    (
        e.ArgumentError("evaluate", "sure", "a Confidence", 0.9, "; write sure=Confidence()"),
        "evaluate: sure must be a Confidence, found 0.9; write sure=Confidence()",
    ),
    (
        e.MaskColumnError("a", "there are 2 columns 'a'"),
        "the mask of slice 'a' can't be read: there are 2 columns 'a'; a mask is one BOOLEAN "
        "column (true in, false out, null undecided), or both words of a packed table. To slice "
        "by another column, give slicing functions, as where(...) and by(...) make them",
    ),
    (
        e.NoMasksError(["a"], "ids"),
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        "SparkSFApplier.apply made. Its BOOLEAN columns (a) are not marked as masks, which pandas "
        "and casts undo: name those that are, ids=['a']",
    ),
    (
        e.PredictionTypeError("t", "prob", "string", "a number"),
        "column 'prob' of t is string, and must be a number: cast it, or name another one in "
        "columns",
    ),
    (
        e.KeyTypesError("id", "int", "m", "string"),
        "key column 'id' is int in the masks and string in the predictions of 'm': cast one of "
        "them",
    ),
    (
        e.NotEvaluatedError("metric", "recal", ["recall", "f1"]),
        "metric 'recal' was not evaluated; did you mean 'recall'?",
    ),
    (
        e.DecoratorParenthesesError("slicing_function", len),
        "@slicing_function on len needs parentheses: write @slicing_function()",
    ),
    (
        e.PredictionValueError("t", "weight", 2, "is negative", ["id=1", "id=2"]),
        "column 'weight' of t is negative on 2 rows, the first are id=1; id=2; correct them, or "
        "make them null",
    ),
    (
        e.MetricDefinitionError("f", "the class has no function 'merge'"),
        "metric 'f': the class has no function 'merge'; @metric takes a function of (y_true, "
        "y_pred, y_prob, weight), or a class with state, merge and compute",
    ),
    (
        e.SplitMissingError("t", "tst", ["test", "train"]),
        "evaluate_splits: t has no split 'tst'; did you mean 'test'?",
    ),
    (
        e.PreprocessorReturnError("p"),
        "preprocessor 'p' returned None; it must return the row",
    ),
    (
        e.PreprocessorReturnError("p", {"text": "a"}),
        "preprocessor 'p' returned {'text': 'a'}; it must return the row",
    ),
    (
        e.SliceFormError("s", "give either a function or a SQL predicate"),
        "slice 's': give either a function or a SQL predicate",
    ),
    (
        e.SliceIdError("S", "base", "is reserved"),
        "slice 'S': the id 'base' is reserved; give the slice another id",
    ),
    (
        e.DuplicateSliceError("a", "A!", "a?"),
        "slices 'A!' and 'a?' have the same id 'a' (ids are compared ignoring case); give one"
        " of them another id",
    ),
    (
        e.LayoutFixedError("audit/masks", "boolean", "packed"),
        "the masks in audit/masks are boolean and the project's layout is packed, but a mask "
        "table's layout is fixed when it is made: set layout to boolean or auto, or remove the "
        "table to have it made again",
    ),
    (
        e.WordColumnError("in_0"),
        "column 'in_0' has the name of a word of the packed mask table: rename it in the source, "
        "leave it out of carry, or set layout to boolean",
    ),
    (
        e.NoSuchMaskError("shrt", ["short", "long"]),
        "the mask table has no slice 'shrt'; did you mean 'short'?",
    ),
    (
        e.SlicePatternError("links", "(", "missing ), unterminated subpattern at position 0"),
        "slice 'links': the pattern '(' doesn't compile: missing ), unterminated subpattern at "
        "position 0",
    ),
    (
        e.NeedsSparkError("long", "sql"),
        "slice 'long' is a sql slice, which only Spark can evaluate: apply it to a Spark DataFrame",
    ),
    (
        e.TierError("links", "Spark expression", "Spark has no re_search"),
        "slice 'links' can't run as 'Spark expression': Spark has no re_search",
    ),
    (
        e.UnknownTierError("tier", "arow", ["arrow", "row"]),
        "there is no tier 'arow'; did you mean 'arrow'?",
    ),
    (
        e.VerifyError("links", "id=7", "Arrow columns", True, None),
        "slice 'links' on row id=7: its compiled form (Arrow columns) says True, the Python "
        "function says None; nothing was written. Run it as Python (tiers: {links: row}) and "
        "report this as a bug of the engine",
    ),
    (
        e.CompositionError("a & & b", 4, "a slice id is missing before '&'"),
        "the composition 'a & & b' can't be read: a slice id is missing before '&' at character "
        "5; it is made of slice ids, &, |, ~ and parentheses",
    ),
    (
        e.UnknownSliceError("both", "shrt_link", ["short_link", "please"]),
        "slice 'both' is composed of 'shrt_link', which is no slice's id; did you mean "
        "'short_link'?",
    ),
    (
        e.CompositionCycleError(["a", "b", "a"]),
        "slices are composed of each other: a -> b -> a; take one of them out of the circle",
    ),
    (
        e.CompositionCycleError(["a", "a"]),
        "slice 'a' is composed of itself; take it out of its own text",
    ),
    (
        e.ValueTypeError("tags", "array<string>"),
        "column 'tags' can't be sliced by value: it is of type array<string>; use text, a boolean, "
        "a whole number, a date or a float, or cast it in the source",
    ),
    (
        e.ValueMismatchError("country", "string", "boolean", [False, True, True, True]),
        "column 'country' is string, and its values to slice by are given as boolean: False, True, "
        "True and 1 more; write them as the column has them (YAML reads no, yes, on and off as "
        "booleans unless they are quoted)",
    ),
    (
        e.LookupTypeError("vip", "customer", "int", "the keys in vips", "string"),
        "slice 'vip': column 'customer' is int, and the keys in vips are string; a look-up takes "
        "text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one type: cast "
        "one of them",
    ),
    (
        e.KeyTypeError("id", "double"),
        "key column 'id' is double, which can't be a key: use a string, integer, boolean, "
        "date, timestamp or DECIMAL(p,0), or cast it in the source",
    ),
    (
        e.JavaMissingError(None, "apt install java"),
        "Spark needs Java 17 or 21, and JAVA_HOME is not set and there is no java on PATH: "
        "install one with `apt install java`",
    ),
    (
        e.JavaMissingError("/opt/java", "apt install java"),
        "Spark needs Java 17 or 21, and JAVA_HOME is '/opt/java', which has no bin/java: "
        "correct or unset it, or install one with `apt install java`",
    ),
    (
        e.JavaUnsupportedError("/bin/java", 11, "apt install java"),
        "Spark needs Java 17 or 21, and /bin/java is version 11: install one with `apt "
        "install java`, and set JAVA_HOME to its folder",
    ),
    (
        e.JavaUnsupportedError("/bin/java", None, "apt install java"),
        "Spark needs Java 17 or 21, and /bin/java does not run: install one with `apt install"
        " java`, and set JAVA_HOME to its folder",
    ),
    (
        e.DemoDataError("data", "there is no such folder", ["a.csv", "b.csv"]),
        "can't read the YouTube comments in 'data': there is no such folder; it must hold "
        "a.csv, b.csv, each with the columns COMMENT_ID, AUTHOR, DATE, CONTENT and CLASS",
    ),
    (
        e.MissingColumnError("slice 's'", "txet", ["text", "label"]),
        "slice 's': there is no column 'txet'; did you mean 'text'?",
    ),
    (
        e.MissingColumnError("key of t", "id", ["text", "label"]),
        "key of t: there is no column 'id'; known: label, text",
    ),
    (
        e.PredicateError("s", "n >", "is not SQL: syntax error at or near end of input"),
        "slice 's': the predicate 'n >' is not SQL: syntax error at or near end of input",
    ),
    (
        e.SliceFaultError("s", "id='a'", "n=0", "ZeroDivisionError: division by zero (s.py:3)"),
        "slice 's' failed on row id='a' having n=0: ZeroDivisionError: division by zero "
        '(s.py:3); fix the function, or set on_error: "null" to leave such rows undecided and'
        " count them",
    ),
    (
        e.SliceFaultError("s", "", "", "it returned 2 (int), not True, False or None"),
        "slice 's' failed on a row: it returned 2 (int), not True, False or None; fix the "
        'function, or set on_error: "null" to leave such rows undecided and count them',
    ),
    (
        e.FaultBudgetError(
            [("s", 1200, 30000), ("r", 5, 30000)],
            0.0001,
            ["'s' on row id=1: oops"],
            "the table is back at version 3",
        ),
        "more slicing functions failed than max_error_rate=0.0001 allows: 's' on 1,200 of "
        "30,000 rows, 'r' on 5 of 30,000 rows; the table is back at version 3. For example: "
        "'s' on row id=1: oops.",
    ),
    (
        e.FaultBudgetError([("s", 1, 2)], 0, [], "the table was dropped"),
        "more slicing functions failed than max_error_rate=0 allows: 's' on 1 of 2 rows; the "
        "table was dropped.",
    ),
    (
        e.ExecutorImportError("words"),
        "Spark's executors cannot import 'words': pass the zip of `make dist` with --py-files"
        " for the engine, and install what slicing functions import on every worker",
    ),
    (
        e.RowWeightsMissingError("w", ["input_data"]),
        "row_weights or metric_weights names the field 'w', which the rows do not have; their "
        "fields are input_data",
    ),
    (
        e.ScoringImportError("torch"),
        "Spark's executors cannot import 'torch': pass the zip of `make dist` with --py-files"
        " for the engine, and install torch, scikit-learn and safetensors on every worker",
    ),
    (
        e.CheckpointUnreachableError("/m", "PermissionError"),
        "Spark's executors cannot read the checkpoint at '/m' (PermissionError): keep it on "
        "storage that all of them share, or send it along with --send",
    ),
    (
        e.UnpicklableSliceError("s", "TypeError: cannot pickle '_thread.lock' object"),
        "slice 's' cannot be sent to executors: TypeError: cannot pickle '_thread.lock' "
        "object; make its resources and globals picklable, or build them inside the function",
    ),
    (
        e.LabelTypeError("task", list),
        "label 'task' is of type list, and must be a torch.Tensor: wrap it with torch.as_tensor",
    ),
    (
        e.FieldLengthsError("d", {"X": 1000, "Y": 3}),
        "the fields and labels of data set 'd' differ in length: X has 1,000, Y has 3; give "
        "each one value per row",
    ),
    (
        e.TaskLabelsMissingError("task", "d", ["other"]),
        "data set 'd' has no labels for task 'task'; its labels are other: name them so in "
        "Y_dict, or give the model their task_name",
    ),
    (
        e.TaskLabelsMissingError("task", "d", []),
        "data set 'd' has no labels for task 'task'; its labels are none: name them so in "
        "Y_dict, or give the model their task_name",
    ),
    (
        e.MaskLengthError(3, "d", 1000),
        "S has 3 rows and data set 'd' has 1,000: apply the slicing functions to the rows of "
        "this data set",
    ),
    (
        e.SliceMasksMissingError(["a", "b"], ["c"]),
        "S has no mask for 'a', 'b', which the model has; its masks are c: apply the slicing "
        "functions of the model's slices",
    ),
    (
        e.MaskValueError("s", 2, 7),
        "the mask of slice 's' holds 2 in row 7; a mask is 1 (in), 0 (out) or -1 (could not "
        "be decided)",
    ),
    (
        e.DuplicateHeadError("s"),
        "slice_names has 's' twice; each slice has one head",
    ),
    (
        e.TrainerSettingError("lr", -1, ", and must be positive"),
        "Trainer: lr is -1, and must be positive",
    ),
    (
        e.TrainerKeywordError("n_epoch", ["n_epochs", "lr"]),
        "Trainer has no setting 'n_epoch'; did you mean 'n_epochs'?",
    ),
    (
        e.SplitError("d", "dev", ["train", "valid"]),
        "data set 'd' is of split 'dev', and the Trainer knows train, valid: name the split "
        "so, or set train_split, valid_split or test_split",
    ),
    (
        e.TrainSplitMissingError("train", ["valid"]),
        "no loader is of the train split 'train'; the splits given are valid",
    ),
    (
        e.TrainSplitMissingError("train", []),
        "no loader is of the train split 'train'; the splits given are none",
    ),
    (
        e.TextTypeError(7, 3),
        "row 3 holds 7 of type int where a text is due: cast the column to text",
    ),
    (
        e.EmptyVocabularyError(1000, "[a-z]+"),
        "no token in 1,000 texts matches '[a-z]+', so there is no vocabulary: check the text "
        "column, or set another token_pattern",
    ),
    (
        e.BaseSpecError("it has no kind"),
        "base architecture: it has no kind",
    ),
    (
        e.CheckpointMissingError("out/model", "model.json"),
        "no checkpoint at 'out/model': model.json is not there; train one first, or correct "
        "the path",
    ),
    (
        e.CheckpointCorruptError("out/model", "it ends early"),
        "the checkpoint at 'out/model' can't be read: it ends early; copy it again, or train "
        "it again",
    ),
    (
        e.CheckpointFormatError("out/model", 2, 1),
        "the checkpoint at 'out/model' is of format 2, and this engine reads format 1: train "
        "it again with this version",
    ),
    (
        e.SingleClassError([1]),
        "the baseline can't be trained: its rows have only the label 1, and it takes two "
        "classes; check the label column and the training split",
    ),
    (
        e.SingleClassError([]),
        "the baseline can't be trained: its rows have no label, and it takes two classes; "
        "check the label column and the training split",
    ),
    (
        e.NoWordsError("text", 5, 2),
        "the baseline can't be trained: no word of two letters or more in column 'text' (2 of"
        " 5 training texts are null); check the text column",
    ),
    (
        e.BinarySolverError("liblinear", 3),
        "the solver 'liblinear' tells two classes apart and the training labels have 3; use "
        "'lbfgs'",
    ),
    (
        e.BaselineMissingError("out/baseline"),
        "there is no baseline in 'out/baseline'; jobs/train_baseline.py writes one",
    ),
    (
        e.DeltaMissingError("io.delta:delta-spark:4.0"),
        "Delta Lake is not on Spark's class path: start spark-submit with --packages "
        "io.delta:delta-spark:4.0 (or --jars and the JARs themselves)",
    ),
    (
        e.DeltaJarsError("io.delta:delta-spark:4.0", "no network"),
        "Delta Lake's JARs (io.delta:delta-spark:4.0) are not on this machine and could not "
        "be fetched: no network; run `make setup` once where Maven Central can be reached",
    ),
    (
        e.TableMissingError("mask table", "out/masks"),
        "the mask table out/masks does not exist or is not a Delta table; run `python -m "
        "jobs.label_slices` first",
    ),
    (
        e.TableMissingError("prediction table", "out/p"),
        "the prediction table out/p does not exist or is not a Delta table; run the job that "
        "makes it first (train_baseline or score_table)",
    ),
    (
        e.TableMissingError("source", "rows.csv"),
        "the source rows.csv does not exist or is not a Delta table; check the project file",
    ),
    (
        e.OccupiedPlaceError("out/masks"),
        "out/masks holds files that are no Delta table, so none is written there: give "
        "another place, or remove it",
    ),
    (
        e.MeanwhileError("out/masks", new=True),
        "somebody else made out/masks while this run was writing it, so this run wrote nothing "
        "there; run it again",
    ),
    (
        e.MeanwhileError("out/masks", new=False),
        "somebody else wrote to out/masks while this run was writing it, so this run wrote nothing "
        "there; run it again",
    ),
    (
        e.SourceReadError("rows.csv", "there are two formats"),
        "source rows.csv can't be read: there are two formats",
    ),
    (
        e.WherePredicateError("n > 1", ["ds"], "'n' is none"),
        "where='n > 1' can't choose partitions: it may name ds only: 'n' is none",
    ),
    (
        e.WherePredicateError("n > 1", [], "the project has no partition_by"),
        "where='n > 1' can't choose partitions: the project has no partition_by",
    ),
    (
        e.TaskUnknownError("l", "tsak", ["task"]),
        "remap_labels sends label 'l' to task 'tsak', which the model does not have; did you "
        "mean 'task'?",
    ),
    (
        e.UnknownMetricError("f2", ["f1", "accuracy"]),
        "unknown metric 'f2'; known: accuracy, f1",
    ),
    (
        e.MetricParameterError("f1@b=1", "b", "it takes threshold"),
        "metric 'f1@b=1': parameter 'b': it takes threshold",
    ),
    (
        e.EmptyLabelsError(),
        "there are no labels to score: golds is empty",
    ),
    (
        e.LengthError({"golds": 3, "preds": 4}),
        "all must have one entry per row, but golds has 3, preds has 4",
    ),
    (
        e.MetricInputError("f1", "preds"),
        "metric 'f1' needs preds, which was not given",
    ),
    (
        e.MetricCellsError("mae", "confusion matrix", ["accuracy", "f1"], "accuracy"),
        "metric 'mae' has no confusion matrix; of those evaluated accuracy, f1 have",
    ),
    (
        e.NotBinaryError("f1", "try f1_micro or f1_macro"),
        "metric 'f1' is for binary problems: try f1_micro or f1_macro",
    ),
    (
        e.LabelValueError("golds", 0.5, "not an integer"),
        "golds: 0.5 is not an integer",
    ),
    (
        e.ProbabilityError((3, 1)),
        "probs must have one row per data point and at least 2 columns, found (3, 1)",
    ),
    (
        e.CheckpointTargetError("out/model"),
        "'out/model' exists and is no checkpoint, so it is not replaced by one: give another "
        "path, or remove it",
    ),
    (
        e.ModuleImportError("sfs.x", "SyntaxError: invalid syntax (x.py:2)"),
        "the module 'sfs.x' can't be imported: SyntaxError: invalid syntax (x.py:2)",
    ),
    (
        e.NoSlicesError("sfs.x"),
        "'sfs.x' has no slicing function; write one with @slicing_function() at the top level"
        " of the module",
    ),
    (
        e.ConfigError("p.yaml", "the key 'name' is missing"),
        "p.yaml: the key 'name' is missing",
    ),
    (
        e.EmptyTableError("out/rows"),
        "out/rows has no rows; nothing was written",
    ),
    (
        e.EmptyTableError("out/rows", "ds = '2024-05-01'"),
        "out/rows has no rows where ds = '2024-05-01'; nothing was written",
    ),
    (
        e.AllNullColumnError("rows", "text", 2000, ["slice 's'"]),
        "column 'text' of rows is null on all 2,000 rows, and is read by slice 's'; check the"
        " source, or leave them out",
    ),
    (
        e.SeveralProblemsError([e.NullKeyError("rows", i, 1, 2) for i in ("a", "b")]),
        "key column 'a' of rows is null on 1 of 2 rows; every row needs a key; besides, key "
        "column 'b' of rows is null on 1 of 2 rows; every row needs a key",
    ),
    (
        e.NullKeyError("rows", "id", 1000, 2000),
        "key column 'id' of rows is null on 1,000 of 2,000 rows; every row needs a key",
    ),
    (
        e.DuplicateKeyError(
            "rows", ["ds", "id"], 1200, ["ds='a', id=1 (2 rows)", "ds='a', id=2 (3 rows)"]
        ),
        "the key (ds, id) of rows is not unique: 1,200 keys name more than one row, the first"
        " are ds='a', id=1 (2 rows); ds='a', id=2 (3 rows)",
    ),
    (
        e.MissingPredictionsError("out/p", "m", 1200, 2000, ["id=1", "id=2"]),
        "out/p has no prediction of model 'm' for 1,200 of 2,000 rows of the mask table, the "
        "first are id=1; id=2; score them, choose other evaluate_splits, or set "
        "missing_predictions: count (in Python allow_missing=True)",
    ),
    (
        e.UnknownClassError("out/p", "label", ["eggs"], ["ham", "spam"]),
        "column 'label' of out/p has values that are not in classes ['ham', 'spam']: eggs",
    ),
    (
        e.QuotaError("per_slice", 0),
        "sample.per_slice must be a positive number of rows, found 0",
    ),
    (
        e.SlicesChangedError("out/masks", ["a", "b"]),
        "slices a, b changed since out/masks was labelled, so labelling some partitions only "
        "would leave the others with the old ones; label all (without --where)",
    ),
    (
        e.PredictionColumnError("out/p", "porb", ["prob", "pred"]),
        "columns of out/p: 'porb' is not a column of prediction tables; did you mean 'prob'?",
    ),
    (
        e.SampleColumnError("rows", "_split"),
        "rows: '_split' can't be a key or an input of the classifier, as the sample has a column "
        "of that name; rename it in the source",
    ),
    (
        e.PredictionKeyError("rows", "label"),
        "rows: 'label' can't be a key or partition column, as prediction tables have a column of "
        "that name; rename it in the source",
    ),
    (
        e.ClassOrderError("out/p", [1, 0], [0, 1]),
        "the probabilities of out/p are in class order [1, 0], the project's classes are [0, "
        "1]; score again, or set classes in that order",
    ),
    (
        e.StaleMasksError("out/masks", "rows", "3", "4"),
        "out/masks was labelled from version 3 of rows, which is now at version 4; run "
        "`python -m jobs.label_slices` again, or set on_stale: count",
    ),
    (
        e.StaleMasksError("out/masks", "rows", "0", "0", "8 of 16 rows in 1 partition"),
        "out/masks was labelled from version 0 of rows, which was made again since, on 8 of 16 "
        "rows in 1 partition; run `python -m jobs.label_slices` for all partitions, without "
        "--where, or set on_stale: count",
    ),
    (
        e.StaleRowsError("a was labelled", "b was scored", "3 of 4 rows", ["x"], partly=True),
        "a was labelled, and b was scored: this is so on 3 of 4 rows; run `python -m jobs.x` for "
        "all partitions, without --where, or set on_stale: count",
    ),
    (
        e.PartitionValueError("rows", "ds", "is ''", "Delta writes that as null", 2, 3, "id=1"),
        "partition column 'ds' of rows is '' on 2 of 3 rows, the first is id=1: Delta writes that "
        "as null; give it another value in the source, or leave the column out of partition_by",
    ),
    (
        e.StaleRowsError("a was labelled", "b was scored", "3 of 4 rows", ["x", "y"]),
        "a was labelled, and b was scored: this is so on 3 of 4 rows; run `python -m jobs.x` and "
        "`python -m jobs.y` again, or set on_stale: count",
    ),
    (
        e.CheckpointMixError("out/p", "a1", "b2"),
        "out/p was scored by checkpoint a1, and the checkpoint is now b2: run without --where, so "
        "that all partitions are scored by one model",
    ),
    (
        e.NoPredictionsError(["out/a", "out/b"]),
        "there is no prediction table yet, looked at out/a, out/b; run `python -m "
        "jobs.train_baseline` first, or name one under predictions",
    ),
    (
        e.FeatureSpecError("it has no kind"),
        "features: it has no kind",
    ),
    (
        e.FeatureTypeError("n", "string", "numeric", "a number"),
        "numeric feature 'n' is of type string, and must be a number: cast it in the source, "
        "or leave it out",
    ),
    (
        e.NotFiniteError("n", 1200, ["id=1", "id=2"]),
        "numeric feature 'n' is NaN or infinite on 1,200 rows, the first are id=1; id=2; "
        "correct them, or make them null, which is a value of its own",
    ),
    (
        e.SampleBudgetError(100000, 2048.0, 100),
        "the sample would take about 195.3 MB (100,000 rows of 2,048 bytes), and "
        "sample.budget_mb is 100: lower sample.overall, per_slice or per_class, or raise the "
        "budget; nothing was collected",
    ),
    (
        e.GroupSplitError("out/masks", "author", 1200, "'ann'", ["train", "test"]),
        "1,200 groups of 'author' in out/masks have rows in more than one split, the first is"
        " 'ann' in train, test; split by group, or leave split out of the project to have it "
        "done",
    ),
    (
        e.CheckpointSlicesError("out/model", "it lacks 'a'", "train it again"),
        "the slices of the checkpoint at 'out/model' are not the project's: it lacks 'a'; "
        "train it again",
    ),
    (
        e.SampleSharesError({"train": 0.9, "test": 0.2}),
        "sample.shares must be positive and add up to 1, found train 0.9, test 0.2",
    ),
    (
        e.BaseWidthError((64, 5), 6),
        "base_architecture gives an output 5 wide, and head_dim is 6: the output must be "
        "[batch, 6]; change head_dim, or the base's last layer",
    ),
    (
        e.BaseWidthError((64, 5, 5), 6),
        "base_architecture gives an output of 3 dimensions, [64, 5, 5], and head_dim is 6: "
        "the output must be [batch, 6]; change head_dim, or the base's last layer",
    ),
    (
        e.BaseWidthError("tuple", 6),
        "base_architecture gives a tuple, not a tensor, and head_dim is 6: the output must be"
        " [batch, 6]; change head_dim, or the base's last layer",
    ),
    (
        e.FieldMissingError(["ids"], ["input_data"]),
        "the base reads 'ids', which the rows do not have; their fields are input_data: "
        "rename them, or set input_data_key",
    ),
    (
        e.ModelSettingError("head_dim", 0, ", and must be positive"),
        "SlicingClassifier: head_dim is 0, and must be positive",
    ),
    (
        e.LabelRangeError("task", "d", 2, "row 7", 2),
        "label 'task' of data set 'd' is 2 at row 7; labels are 0 to 1 (n_classes=2), or -1 "
        "for none",
    ),
    (
        e.SoftLabelShapeError("task", "d", (5, 3), "torch.int64", (5, 2)),
        "label 'task' of data set 'd' is [5, 3] of torch.int64; soft labels are one "
        "probability per row and class, [5, 2] floats",
    ),
    (
        e.SoftLabelValueError("task", "d", [0.5, 0.7], "row 7"),
        "label 'task' of data set 'd' is [0.5, 0.7] at row 7; a soft label is probabilities "
        "that sum to 1, or all -1 for none",
    ),
    (
        e.CheckpointClassesError(["ham"], 2),
        "classes are ['ham'], and the model has 2: give the label of each, in the model's order",
    ),
    (
        e.CheckpointFactsError("Object of type set is not JSON serializable"),
        "the checkpoint can't be written as JSON: Object of type set is not JSON serializable; "
        "base, classes, slices and facts must be texts, numbers, lists and dicts",
    ),
    (
        e.SampleKindError("stratifed", ["quota", "stratified"]),
        "sample.kind: there is no kind 'stratifed'; did you mean 'stratified'?",
    ),
    (
        e.RowWeightsTypeError("w", "list"),
        "row_weights or metric_weights names the field 'w', which is a list, and must be a "
        "torch.Tensor of a number per row",
    ),
    (
        e.LoaderSettingError("d", "batch_size is 0, and must be a whole number of at least 1"),
        "the loader of data set 'd': batch_size is 0, and must be a whole number of at least 1",
    ),
    (
        e.EmptyTrainingError(["d"], "it has no rows"),
        "nothing can be learned from data set 'd': it has no rows",
    ),
    (
        e.ArgumentTypeError("S", None, "a record array", ": write S"),
        "S is None, and must be a record array: write S",
    ),
    (
        e.BaseRunError({"x": "[2, 6] float32"}, RuntimeError("mat1 and mat2\nmore")),
        "base_architecture can't read a batch whose fields are x [2, 6] float32: RuntimeError: "
        "mat1 and mat2; change its first layer, the fields, or input_data_key",
    ),
    (
        e.BaseWidthError((1, 4), 4, rows=2),
        "base_architecture gives 1 rows for a batch of 2: it must give one row for each, in their "
        "order",
    ),
    (
        e.NotANumberFeatureError("X", "d", 3, ["row 1 (nan)", "row 2 (inf)"]),
        "field 'X' of data set 'd' is NaN or infinite in 3 rows: row 1 (nan), row 2 (inf) and 1 "
        "more; fill them, or leave these rows out",
    ),
    (
        e.NotANumberLossError(7, ["task"], ["row 1"], None),
        "the loss of task is not finite at step 7 on the batch row 1; the weights are those "
        "of the step before: lower lr, set grad_clip, or check these rows",
    ),
    (
        e.NotANumberLossError(7, ["task"], None, "out/state"),
        "the loss of task is not finite at step 7; the last good state is kept in "
        "'out/state': lower lr, set grad_clip, or check these rows",
    ),
    (
        e.MonitorError("s/f2", "there is no metric 'f2'"),
        "monitor 's/f2' can't be computed: there is no metric 'f2'; it is '<slice>/<metric>' "
        "or 'overall/<metric>' on the valid split",
    ),
    (
        e.ResumeError("out/state", [("lr", 0.1, 0.2), ("weights", 1, 2)]),
        "'out/state' holds the state of another training, so it can't be gone on with: these "
        "differ: lr was 0.1 and is 0.2, weights; give another folder, remove it, or set "
        "resume=False",
    ),
    (
        e.SharedFolderError("out/state", 1, 0, 3),
        "process 1 finds training in 'out/state' at epoch 0, and process 0 at epoch 3: the "
        "folder must be on storage that all processes share",
    ),
]
CLASSES = [
    value
    for value in vars(e).values()
    if isinstance(value, type) and issubclass(value, e.EngineError)
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda v: type(v).__name__)
def test_an_errors_sentence(error, sentence):
    assert str(error) == sentence
    assert isinstance(error, e.EngineError)


def test_every_error_has_its_sentence_tested():
    tested = {type(error) for error, _ in SENTENCES}
    texts = "".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    untested = [
        c.__name__
        for c in CLASSES
        if c not in tested and not re.search(rf"\b{c.__name__}\b", texts)
    ]
    assert untested == []


def test_every_error_is_raised_somewhere():
    files = [p for room in ("engine", "jobs") for p in (ROOT / room).rglob("*.py")]
    texts = "".join(p.read_text() for p in files if p.name != "errors.py")
    bases = {c for c in CLASSES if any(issubclass(d, c) and d is not c for d in CLASSES)}
    unused = [c.__name__ for c in CLASSES if c not in bases and c.__name__ not in texts]
    assert unused == []


def test_bad_input_is_a_value_error():
    assert issubclass(e.InputError, ValueError)
    assert all(c.__doc__ for c in CLASSES)


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("txet", ["text", "label"], "; did you mean 'text'?"),
        ("TEXT", ["text", "label"], "; did you mean 'text'?"),
        ("zzz", ["b", "a", "b"], "; known: a, b"),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_word(word, known, end):
    assert e.near(word, known) == end


@pytest.mark.parametrize(
    ("items", "most", "text"),
    [([], 3, ""), ([1, 2, 3], 3, "1, 2, 3"), ([1, 2, 3, 4, 5], 3, "1, 2, 3 and 2 more")],
)
def test_lists_are_cut(items, most, text):
    assert e.listed(items, most) == text
