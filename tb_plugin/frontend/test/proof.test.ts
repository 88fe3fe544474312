import { describe, expect, it } from "vitest";
import type { Mark, ProofAnswer } from "../src/api/wire";
import { readCells } from "../src/model/cells";
import { formatShort } from "../src/model/format";
import { chooseLabels } from "../src/model/labels";
import { countContradictions, describeAge, describeProof, NO_PROOF, readProof } from "../src/model/proof";
import { countFilters, matchVariables } from "../src/model/rows";
import { buildTree } from "../src/model/tree";
import { buildVerdict } from "../src/model/verdict";
import { makeSmallReport, NO_NORMS } from "./fixture";

const answer = (change: Partial<ProofAnswer> = {}): ProofAnswer => ({
  schema: 1,
  run: "run",
  at: 1,
  variables_id: "id",
  looked_at: 20,
  wall_time: 1,
  step: 20,
  since: 10,
  steps: 10,
  seconds: 0.1,
  age: [0, 30, 0, 20],
  judgement: [0, 2, 1, 0],
  slot_age: [0, 0, 30, 30],
  slot_judgement: [0, 0, 2, 2],
  ...change,
});

describe("a look at the values", () => {
  it("is taken where it is of this report", () => {
    const report = makeSmallReport();
    expect(readProof(report, answer()).present).toBe(true);
    for (const wrong of [null, answer({ looked_at: null }), answer({ variables_id: "other" }), answer({ age: [0] }), answer({ slot_age: [] })]) {
      expect(readProof(report, wrong)).toBe(NO_PROOF);
    }
  });

  it("stands in the cells of variables and layers", () => {
    const report = makeSmallReport();
    const tree = buildTree(report, NO_NORMS, readProof(report, answer()));
    expect([0, 1, 2, 3].map((row) => readCells(tree, tree.firstVariable + row, NO_NORMS).changed)).toEqual(["yes", "no", "yes", "no"]);
    expect(readCells(tree, 0, NO_NORMS)).toMatchObject({ changed: "2 of 4", contradicts: true });
    expect(readCells(tree, 1, NO_NORMS).changedTitle).toBe("1 of 2 variables changed, 1 that the step writes did not");
    expect(countFilters(report, tree.proof).proof).toBe(2);
    expect([...(matchVariables(tree, "proof", null, null) as Uint8Array)]).toEqual([0, 1, 1, 0]);
  });

  it("is told in words", () => {
    const proof = readProof(makeSmallReport(), answer());
    expect(describeProof(proof).words).toBe(
      "Seen in the values: 2 of 4 variables changed between steps 10 and 20, 1 of them though no op of the step writes it, and 1 that the step writes did not.",
    );
    expect(countContradictions(proof)).toEqual({ moved: 1, still: 1 });
    expect(describeAge(0, 0, proof)).toBe("Changed between steps 10 and 20.");
    expect(describeAge(0, 0, { ...proof, since: null, steps: 1 })).toBe("Changed in the last 1 step.");
    expect(describeAge(1, 0, proof)).toBe("The same to the bit for 1 step.");
    expect(describeAge(30, 2, proof)).toContain("though each step writes it");
    expect(describeAge(-1, 0, proof)).toBe("Not looked at.");
  });

  it("turns the verdict only where it is grave", () => {
    const counts = { variables: 4, trainable: 4, expected: 4, updated: 4, partly: 0, unknown: 0, expected_not_updated: 0, updated_not_expected: 0, errors: 0, warnings: 0, infos: 0 };
    expect(buildVerdict(true, counts, null, { moved: 0, still: 3 }).severity).toBe("none");
    expect(buildVerdict(true, counts, null, { moved: 0, still: 4 })).toEqual({ severity: "warning", sentence: "The step writes what you meant, and nothing changes." });
    expect(buildVerdict(true, counts, null, { moved: 2, still: 0 }).sentence).toBe("2 variables change though no op of the step writes them.");
    expect(buildVerdict(false, { ...counts, errors: 1 }, null, { moved: 2, still: 0 }).severity).toBe("error");
  });
});

describe("labels of the timeline", () => {
  const mark = (at: number, reason: string): Mark => ({ at, reason, step: at, epoch: null, stored: true, ok: true, counts: {} }) as Mark;
  const place = (i: number) => 12 + i * 80;

  it("has the chosen one, then changes, and no two on one another", () => {
    const marks = ["first trace", "epoch", "epoch", "flag changed", "epoch", "epoch", "recompiled", "epoch"].map((reason, i) => mark(i, reason));
    const labels = chooseLabels(marks, 4, place, 600);
    expect(labels.map(({ i }) => i)).toEqual([0, 2, 4, 6]);
    labels.slice(1).forEach((label, i) => expect(label.left).toBeGreaterThan((labels[i]?.left ?? 0) + (labels[i]?.room ?? 0)));
  });

  it("stays within the track", () => {
    const marks = Array.from({ length: 1000 }, (_, i) => mark(i, "epoch"));
    for (const { left, room } of chooseLabels(marks, 999, (i) => 12 + (i * 576) / 999, 600)) {
      expect(left).toBeGreaterThanOrEqual(0);
      expect(left + room).toBeLessThanOrEqual(600);
    }
    expect(chooseLabels([], -1, place, 600)).toEqual([]);
  });
});

it("shortens counts for narrow cells", () => {
  expect([9999, 10_000, 99_999, 190_000, 999_600, 1_234_567].map(formatShort)).toEqual(["9\u202f999", "10k", "100k", "190k", "1M", "1.23M"]);
});
