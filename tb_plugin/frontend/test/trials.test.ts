import { describe, expect, it } from "vitest";
import { listFurther, nameProposal } from "../src/model/trials";

const RECOMPILE = { trains: [1], still_not: [], note: "compiled again", code: "introspect.recompile(model)", verified: true };
const FREEZE = { trains: [], still_not: [], note: "enc frozen", code: '# or, freeze it:\nmodel.get_layer("enc").trainable = False', verified: true };

describe("trials of a fix", () => {
  it("are told once each", () => {
    expect(listFurther({ fix_result: { trains: [1], still_not: [], note: "compiled again" }, trials: [RECOMPILE, FREEZE] })).toEqual([FREEZE]);
    expect(listFurther({ fix_result: { trains: [], still_not: [1], note: "not mended" }, trials: [FREEZE] })).toEqual([FREEZE]);
    expect(listFurther({ fix_result: null })).toEqual([]);
  });

  it("are named by what the fix says of them", () => {
    expect(nameProposal(FREEZE.code)).toBe("Or, freeze it");
    expect(nameProposal(RECOMPILE.code)).toBe("Or");
  });
});
