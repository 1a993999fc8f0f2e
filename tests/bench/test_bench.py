"""What the benchmark concludes from what it is given: `python3 -m unittest discover tests/bench`."""

import unittest
from collections import Counter

import stacks
import table
import workload
from experiments import AUSTIN, NEVER_PAUSE, PY_SPY, PYSAMPLE, TACHYON, TACHYON_BLOCKING, Sheet, held_up

MAIN = ("<module>", "main", "count")
KINDS = {"3.11": "3.11.7", "3.15-debian": "3.15.2"}


def torture_run(impossible=0, told=None, depths=None):
    return {
        "asked": 1000,
        "kept": 1000,
        "impossible": impossible,
        "told": told,
        "depths": depths or {"4": 500, "5": 500},
        "company": 0,
    }


def report(**changed):
    return {
        "command": "tests/bench/run",
        "machine": {"kernel": "6.1", "processor": "A processor", "processors": 2, "date": "2026-11-20"},
        "versions": {"pysample": "0.1.0", "py-spy": "0.4.3"},
        "kinds": KINDS,
        "peers": [PYSAMPLE, PY_SPY, AUSTIN, TACHYON],
        "experiments": ["rate"],
        "runs": 3,
        "left_out": [],
        **changed,
    }


class Reading(unittest.TestCase):
    def test_frames_of_pysample_and_py_spy_begin_with_their_names(self):
        lines = ["<module> (a.py:1);f (b (c).py:2) 3\n", "<module> (a.py:1);f (b (c).py:2) 2\n", "\n", "x y\n"]
        self.assertEqual(stacks.of_named_frames(lines), Counter({("<module>", "f"): 5}))

    def test_frames_of_tachyon_end_with_their_names_and_its_stacks_begin_with_a_thread(self):
        lines = ["tid:7;a.py:<module>:1;odd:name.py:f:2 3\n"]
        self.assertEqual(stacks.of_files_first(lines, heads=1), Counter({("<module>", "f"): 3}))

    def test_a_line_of_austin_is_one_sample_whatever_its_number(self):
        lines = ["# austin: 4.0.0\n", "P1;T0:1;a.py:<module>:1 1081\n", "P1;T0:1;a.py:<module>:1 22\n"]
        self.assertEqual(stacks.of_samples(lines, heads=2), Counter({("<module>",): 2}))

    def test_the_estimate_of_mixtures_is_read_where_there_is_one(self):
        account = "  samples     3000 asked\n  mixed       about 12.5 of 2998 kept (0.4 %), estimated\n"
        self.assertEqual(stacks.told_mixed(account), 12.5)
        self.assertIsNone(stacks.told_mixed("  samples     3000 asked\n"))

    def test_system_calls_are_read_with_errors_and_without(self):
        row = "100.00    0.000100           1       {}           process_vm_readv\n"
        self.assertEqual(stacks.calls(row.format("210  "), "process_vm_readv"), 210)
        self.assertEqual(stacks.calls(row.format("210        3"), "process_vm_readv"), 210)
        self.assertEqual(stacks.calls("", "process_vm_readv"), 0)

    def test_of_what_a_program_says_the_line_that_tells_of_trouble_counts(self):
        self.assertEqual(stacks.trouble("\x1b[1mA tool\x1b[0m\n\n* Cannot do it. So\nGoodbye\n"), "Cannot do it")
        self.assertEqual(stacks.trouble("a\nb\n"), "b")
        self.assertEqual(stacks.trouble("\n"), "it said nothing")


class Truth(unittest.TestCase):
    def test_a_stack_can_have_been_if_each_function_calls_the_next(self):
        for functions in ((), ("t",), ("t", "t_0"), ("t", "t_0", "t_02", "t_021")):
            self.assertTrue(stacks.is_possible((*MAIN, *functions)), functions)

    def test_a_stack_cannot_have_been_if_one_does_not(self):
        for functions in (("t_0",), ("t", "t_01"), ("t", "t_0", "t_12"), ("t", "t"), ("t", "t_3"), ("count",)):
            self.assertFalse(stacks.is_possible((*MAIN, *functions)), functions)

    def test_what_sums_up_is_called_by_what_counts_and_calls_one_generator(self):
        for functions in (("held_up",), ("held_up", "<genexpr>"), ("held_up", "held_up.<locals>.<genexpr>")):
            self.assertTrue(stacks.is_possible((*MAIN, *functions)), functions)
        for functions in (("t", "held_up"), ("held_up", "t"), ("held_up", "<genexpr>", "t"), ("<genexpr>",)):
            self.assertFalse(stacks.is_possible((*MAIN, *functions)), functions)

    def test_a_stack_without_its_outermost_frames_cannot_have_been(self):
        for functions in ((), ("t",), ("<module>", "t"), ("<module>", "count", "t"), ("<module>", "main")):
            self.assertFalse(stacks.is_possible(functions), functions)

    def test_impossible_stacks_are_counted_as_often_as_they_were_seen(self):
        found = Counter({(*MAIN, "t"): 5, (*MAIN, "t_1"): 3, ("t",): 2})
        self.assertEqual(stacks.impossible(found), 5)
        self.assertEqual(stacks.depths(found), Counter({4: 8, 1: 2}))

    def test_the_distance_of_histograms_is_the_share_that_would_have_to_move(self):
        self.assertEqual(stacks.distance(Counter({1: 1}), Counter({1: 9})), 0)
        self.assertEqual(stacks.distance(Counter({1: 5}), Counter({2: 3})), 1)
        self.assertAlmostEqual(stacks.distance(Counter({1: 5, 2: 5}), Counter({1: 6, 2: 4})), 0.1)

    def test_the_share_of_the_time_for_which_work_was_held_up_is_that_of_all_tenths_together(self):
        self.assertAlmostEqual(held_up([(7, 100, 10), (9, 300, 10)]), 0.05)

    def test_a_round_is_held_up_if_it_takes_longer_than_others_by_a_fifth(self):
        rounds = [100_000] * 7 + [100_000 + 19_000, 100_000 + 21_000, 100_000 + 50_000]
        self.assertEqual(workload.held_up(rounds), 71_000)
        self.assertEqual(workload.held_up([10_000] * 3 + [10_000 + 7_000, 10_000 + 9_000]), 9_000)


class Failing(unittest.TestCase):
    def test_what_fails_everywhere_is_told_once(self):
        sheet = Sheet()
        sheet.failures = {
            ("rate", AUSTIN, "3.15"): "no",
            ("truth", AUSTIN, "3.15"): "no",
            ("rate", PY_SPY, "3.15"): "slow",
        }
        self.assertEqual(list(sheet.left_out()), ["Austin on 3.15: no", "py-spy on 3.15, rate: slow"])


class Rows(unittest.TestCase):
    def setUp(self):
        self.sheet = Sheet()

    def add(self, profiler, run, experiment="truth", kind="3.11"):
        self.sheet.add(experiment, profiler, kind, run)

    def test_one_impossible_stack_in_all_runs_is_seen(self):
        row = next(row for row in table.ROWS if row.figure is table.impossible)
        for number in (0, 0, 1):
            self.add(PYSAMPLE, torture_run(impossible=number))
        figure = table.impossible(self.sheet, PYSAMPLE, "3.11")
        self.assertEqual(figure.more, "(1 of 3,000)")
        self.assertFalse(row.goal.met(figure))

    def test_mixtures_are_counted_over_all_runs_that_tell(self):
        for told, were in ((10, 8), (None, 900), (20, 16)):
            self.add(NEVER_PAUSE, torture_run(impossible=were, told=told))
        figure = table.counted(self.sheet, NEVER_PAUSE, "3.11")
        self.assertEqual((figure.value, figure.more), (1.25, "(30.0 for 24)"))
        self.assertIsNone(table.counted(self.sheet, PYSAMPLE, "3.11"))

    def test_of_a_few_mixtures_it_is_not_judged_how_well_they_were_counted(self):
        self.add(NEVER_PAUSE, torture_run(impossible=1, told=9))
        few = table.counted(self.sheet, NEVER_PAUSE, "3.11")
        self.assertEqual((few.value, few.text), (None, "9.00 for 1"))
        row = next(row for row in table.ROWS if row.figure is table.counted)
        self.assertEqual(table.verdict(row.goal, {"3.11": few}, KINDS), "too few to tell")
        self.add(NEVER_PAUSE, torture_run(impossible=30, told=0), kind="3.15-debian")
        figures = {kind: table.counted(self.sheet, NEVER_PAUSE, kind) for kind in KINDS}
        self.assertEqual(table.verdict(row.goal, figures, KINDS), "**not on 3.15**")

    def test_bias_is_the_distance_from_a_peer_that_is_exact(self):
        self.add(PY_SPY, torture_run(impossible=1))
        self.add(PYSAMPLE, torture_run(depths={"4": 400, "5": 600}))
        self.assertIsNone(table.bias(self.sheet, PYSAMPLE, "3.11"), "py-spy was not exact")
        self.add(TACHYON_BLOCKING, torture_run())
        self.assertAlmostEqual(table.bias(self.sheet, PYSAMPLE, "3.11").value, 0.1)
        self.assertIsNone(table.bias(self.sheet, TACHYON_BLOCKING, "3.11"), "nothing is measured against itself")

    def test_times_are_medians_with_their_range(self):
        for lost_share in (0.004, -0.001, 0.123):
            self.add(PYSAMPLE, {"lost": lost_share}, "slow-down, torture")
        row = next(row for row in table.ROWS if row.words.endswith("torture"))
        figure = row.figure(self.sheet, PYSAMPLE, "3.11")
        self.assertEqual((figure.text, figure.more), ("0.40 %", "(-0.10 to 12.3)"))
        self.assertTrue(row.goal.met(figure))

    def test_of_memory_the_most_counts(self):
        for scene, peak in (("depth 100", 7.0), ("50 idle threads", 16.0), ("depth 100", None)):
            self.add(PYSAMPLE, {"cpu": 0.01, "peak": peak}, f"cost, {scene}")
        self.assertEqual(table.PEAK(self.sheet, PYSAMPLE, "3.11").value, 16.0)

    def test_a_goal_is_met_where_it_is_measured(self):
        goal = table.at_most(1, table.NUMBER)
        good, bad = table.Figure(1, "1"), table.Figure(1.01, "1.01")
        self.assertEqual(table.verdict(goal, {"3.11": good, "3.15-debian": None}, KINDS), "yes, where told")
        self.assertEqual(table.verdict(goal, {"3.11": good, "3.15-debian": good}, KINDS), "yes")
        self.assertEqual(table.verdict(goal, {"3.11": good, "3.15-debian": bad}, KINDS), "**not on 3.15**")
        self.assertEqual(table.verdict(goal, {"3.11": None, "3.15-debian": None}, KINDS), "not told")

    def test_numbers_have_the_digits_that_tell_something(self):
        told = [table.PERCENT.text(number) for number in (0.00123, 0.1234, 1, -0.00001)]
        self.assertEqual(told, ["0.12 %", "12.3 %", "100 %", "0.00 %"])
        self.assertEqual(table.A_SECOND.text(123456.7), "123,457 a second")
        self.assertEqual(table.at_least(0.995, table.PERCENT).text, "at least 99.5 %")


class Table(unittest.TestCase):
    def test_every_measure_of_an_experiment_has_its_row(self):
        sheet = Sheet()
        sheet.add("rate", NEVER_PAUSE, "3.11", {"rate": 90_000, "company": 0})
        sheet.add("rate", NEVER_PAUSE, "3.15-debian", {"rate": 150_000, "company": 0})
        sheet.add("rate", TACHYON, "3.15-debian", {"rate": 50_000, "company": 0.5})
        lines = list(table.lines(report(left_out=["Austin: no"]), sheet))
        self.assertIn("more than a tenth of a processor in 1 of 3 runs", lines[0])
        self.assertEqual(
            lines[2:4], ["| measure | goal | 3.11.7 | 3.15.2 | met | peers |", "|---|---|---|---|---|---|"]
        )
        self.assertEqual(
            lines[4:7],
            [
                "| highest kept rate, `--never-pause` | at least 100,000 a second | 90,000 a second | 150,000 a second "
                "| **not on 3.11** | Tachyon - / 50,000 a second |",
                "| highest kept rate, by Tachyon's, `--never-pause` | at least 2 times | - | 3.00 times "
                "| yes, where told |  |",
                "| highest kept rate, `--max-pause 100` | at least 25,000 a second | - | - | not told |  |",
            ],
        )
        self.assertEqual(lines[-1], "- Austin: no")

    def test_what_was_kept_as_json_tells_the_same(self):
        sheet = Sheet()
        sheet.add("truth", PYSAMPLE, "3.11", torture_run())
        again = Sheet(sheet.cells())
        self.assertEqual(again.runs("truth", PYSAMPLE, "3.11"), [torture_run()])

    def test_a_table_takes_the_place_of_the_one_before(self):
        text = f"# Title\n\n{table.BEGIN}\nold\n{table.END}\n\nrest\n"
        once = table.replaced(text, "new")
        self.assertEqual(once, f"# Title\n\n{table.BEGIN}\n\nnew\n\n{table.END}\n\nrest\n")
        self.assertEqual(table.replaced(once, "new"), once)
        with self.assertRaises(ValueError):
            table.replaced("no markers", "new")


if __name__ == "__main__":
    unittest.main()
