import { describe, expect, it } from "vitest";
import type { Counts, Mark } from "../src/api/wire";
import { formatCount, formatDevice, formatNorm, formatShape, formatShare } from "../src/model/format";
import { variableStatus } from "../src/model/report";
import { fullWord, statusOf } from "../src/model/status";
import { describeMark, findMark, nearestStored, reasonKind, stepMark } from "../src/model/timeline";
import { buildVerdict, copyText, splitFix } from "../src/model/verdict";
import { makeReport } from "./fixture";

const COUNTS: Counts = {
  variables: 32,
  trainable: 32,
  expected: 32,
  updated: 6,
  partly: 0,
  unknown: 0,
  expected_not_updated: 26,
  updated_not_expected: 0,
  errors: 1,
  warnings: 0,
  infos: 0,
};
const STALE = { name: "trainable-variable-not-updated", message: "a message", certainty: "proven", counted: true };

describe("the verdict", () => {
  it("says how many do not train, and why", () => {
    expect(buildVerdict(false, COUNTS, STALE)).toEqual({
      severity: "error",
      sentence: "26 of 32 variables that you set trainable do not train: the step was compiled before.",
    });
  });

  it("does not claim a cause that is only likely", () => {
    expect(buildVerdict(false, COUNTS, { ...STALE, certainty: "likely" }).sentence).toBe("26 of 32 variables that you set trainable do not train.");
  });

  it("speaks of both ways", () => {
    const counts = { ...COUNTS, expected: 30, expected_not_updated: 1, updated_not_expected: 2 };
    expect(buildVerdict(false, counts, STALE).sentence).toBe("1 of 30 variables that you set trainable does not train, and 2 variables that you froze still train.");
  });

  it("lets a finding speak that the counts do not tell of", () => {
    expect(buildVerdict(false, COUNTS, { ...STALE, counted: false }).sentence).toBe("a message");
    expect(buildVerdict(false, COUNTS, { ...STALE, name: "next-step-fails" }).sentence).toBe("a message");
  });

  it("is calm where all is well", () => {
    const counts = { ...COUNTS, updated: 30, expected: 30, expected_not_updated: 0, errors: 0 };
    expect(buildVerdict(true, counts, null)).toEqual({ severity: "none", sentence: "What trains is what you meant: 30 of 32 variables train, 2 do not." });
    expect(buildVerdict(true, { ...counts, updated: 28, unknown: 2 }, null).sentence).toBe("No error and no warning: 28 of 32 variables train, of 2 it is not known.");
  });

  it("bears a model without variables", () => {
    expect(buildVerdict(true, { ...COUNTS, variables: 0 }, null).sentence).toBe("The model holds no variables.");
  });
});

describe("a fix", () => {
  it("is told apart into prose and code", () => {
    const fix = "model.compile(optimizer=x, loss=y)\n# or:\nintrospect.recompile(model)";
    expect(splitFix(fix)).toEqual([{ code: true, text: fix }]);
    expect(splitFix("Do this:\nlayer.trainable = True\nThen fit.")).toEqual([
      { code: false, text: "Do this:" },
      { code: true, text: "layer.trainable = True" },
      { code: false, text: "Then fit." },
    ]);
    expect(splitFix("Say\n```python\nf(x)\n```\nand go.").map((part) => part.code)).toEqual([false, true, false]);
    expect(splitFix("model.compile(...) with a new optimizer instance")[0]?.code).toBe(false);
    expect(splitFix("introspect.recompile(model)  # or: model.compile(…), after the flags are set")[0]?.code).toBe(true);
    expect(splitFix("model.get_layer('a').trainable = False  # then compile")[0]?.code).toBe(true);
  });

  it("is copied as its code alone, where there is some", () => {
    expect(copyText("Do this:\nf(x)\nThen fit.")).toBe("f(x)");
    expect(copyText("Call `model.compile(…)` with `x`.")).toBe("model.compile(…)");
    expect(copyText("Give this output a loss.")).toBe("Give this output a loss.");
  });
});

describe("the status of a variable", () => {
  const word = (row: Parameters<typeof makeReport>[0][0], severity?: "error" | "warning" | "info") => {
    const report = makeReport([row], [], severity ? [{ severity, variables: [row.path] }] : []);
    const status = variableStatus(report, 0);
    return fullWord(status, severity ?? "none");
  };

  it("is one word", () => {
    expect(word({ path: "x" })).toBe("trains");
    expect(word({ path: "x", expected: false, updated: "no" })).toBe("frozen");
    expect(word({ path: "x", updated: "no" }, "error")).toBe("does not train");
    expect(word({ path: "x", expected: false, updated: "yes" }, "error")).toBe("trains though frozen");
    expect(word({ path: "x", updated: "some" })).toBe("in some traces");
    expect(word({ path: "x", updated: "unknown" })).toBe("unknown");
    expect(word({ path: "x", expected: false, updated: "no", kinds: ["initial", "statistics"] })).toBe("statistics");
  });

  it("never sounds healthy where a finding says otherwise", () => {
    expect(word({ path: "x" }, "error")).toBe("trains, error");
    expect(word({ path: "x", expected: false, updated: "no", kinds: ["statistics"] }, "error")).toBe("changes though frozen");
    expect(word({ path: "x" }, "info")).toBe("trains");
  });

  it("is unknown where the wire says nothing", () => {
    expect(statusOf({ expected: true, updated: null, kinds: [], severity: "none" }).kind).toBe("unknown");
  });
});

function mark(at: number, change: Partial<Mark> = {}): Mark {
  const state = { ok: false, counts: COUNTS, headline: null, rules: [], variables_id: null, source: null, model: null };
  return { at, wall_time: at, stored: true, step: at * 10, epoch: null, reason: "epoch", detail: null, created: null, ...state, ...change };
}

describe("the timeline", () => {
  const marks = [mark(1), mark(2, { stored: false }), mark(3), mark(4, { stored: false })];

  it("follows the newest report that is stored", () => {
    expect(findMark(marks, null)).toBe(2);
    expect(findMark(marks, 1)).toBe(0);
    expect(findMark(marks, 99)).toBe(2);
    expect(findMark([], null)).toBe(-1);
  });

  it("steps over what was sampled away", () => {
    expect(stepMark(marks, 0, 1)).toBe(2);
    expect(stepMark(marks, 2, 1)).toBe(2);
    expect(stepMark(marks, 2, -1)).toBe(0);
    expect(nearestStored(marks, 3)).toBe(2);
  });

  it("says each mark in words", () => {
    expect(describeMark(mark(3, { epoch: 2, reason: "flag changed" }), 2, 4)).toBe("step 30, epoch 3: flag changed, 1 error; 3 of 4");
    expect(describeMark(mark(3, { step: null, reason: null, stored: false }), 0, 1)).toBe("report 3: report, sampled away; 1 of 1");
  });

  it("knows the reasons, and bears others", () => {
    expect(reasonKind("flag changed")).toBe("flag");
    expect(reasonKind("recompiled")).toBe("recompile");
    expect(reasonKind("epoch 3")).toBe("epoch");
    expect(reasonKind("__proto__")).toBe("other");
    expect(reasonKind("constructor")).toBe("other");
    expect(reasonKind(null)).toBe("other");
  });
});

describe("numbers and devices", () => {
  it("are short", () => {
    expect(formatCount(1234567)).toBe("1\u202f234\u202f567");
    expect([0, 0.0325, 5, 123.4, 9999, 3e-5, 2e9, null, "nan"].map((value) => formatNorm(value as number))).toEqual(["0", "0.0325", "5", "123", "1.00e+4", "3.0e-5", "2.0e+9", "–", "nan"]);
    expect([formatShare(0.5), formatShare(1), formatShare(0), formatShare(null)]).toEqual(["50 %", "100 %", "0 %", "–"]);
    expect(formatShape([3, null, 64])).toBe("3 × ? × 64");
    expect(formatShape([])).toBe("scalar");
    expect(formatDevice("/job:localhost/replica:0/task:0/device:GPU:0")).toBe("GPU:0");
    expect(formatDevice("/job:worker/replica:0/task:2/device:CPU:0")).toBe("worker/2 CPU:0");
    expect(formatDevice("odd")).toBe("odd");
  });
});
