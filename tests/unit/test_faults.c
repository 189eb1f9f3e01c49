// SPDX-License-Identifier: Apache-2.0
/* Faults of definitions: one definition, the faults it must have, in order. */
#include "definition_fixture.h"

static const struct bad_case bad_cases[] = {
    {"[]", {{"", "[]", "=object", NULL}}},
    {"{}",
     {{"/dataset", "null", "required: object", NULL},
      {"/network", "null", "required: object", NULL},
      {"/rule", "null", "required: object", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":-1}}", {{"/optimizer/lr", "-1", "=number > 0", NULL}}},
    {"{" SAL ",\"optimizer\":{\"momentum\":1}}",
     {{"/optimizer/momentum", "1", "=number >= 0 and < 1", NULL}}},
    {"{" SAL ",\"optimizer\":{\"momentum\":0.99999999999}}",
     {{"/optimizer/momentum", "0.99999999999", "rounded to 32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":1e-60}}", {{"/optimizer/lr", "1e-60", "32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":1e60}}", {{"/optimizer/lr", "1e+60", "32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"groups\":{\"V\":{\"lr\":1e-60}}}}",
     {{"/optimizer/groups/V/lr", "1e-60", "32 bits", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":0}}",
     {{"/training/epochs", "0", "=integer from 1 to 100000", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":1.5}}", {{"/training/epochs", "1.5", "integer", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":\"7\"}}", {{"/training/epochs", "\"7\"", "integer", NULL}}},
    {"{" SAL ",\"training\":{\"seed\":100000000000000000000}}",
     {{"/training/seed", "100000000000000000000", "=integer from 0 to 9007199254740992", NULL}}},
    {"{" SAL ",\"training\":{\"threads\":65}}",
     {{"/training/threads", "65", "=integer from 1 to 64", NULL}}},
    {"{" SAL ",\"training\":{\"epoch\":2}}",
     {{"/training/epoch", "2", "one of epochs, batch, seed, threads, shuffle, max_steps",
       "epochs"}}},
    {"{" SAL ",\"optimiser\":{\"lr\":1}}",
     {{"/optimiser", "{\"lr\":1}", "one of name", "optimizer"}}},
    {"{" SAL ",\"zzzzzzzz\":1}", {{"/zzzzzzzz", "1", "one of name", NULL}}},
    {"{" SAL ",\"a/b~c\":1}", {{"/a~1b~0c", "1", "one of name", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sall\"}}",
     {{"/rule/name", "\"sall\"", "=one of bp, fa, kp, sal, usf, frsf, brsf, dfa, wm", "sal"}}},
    {"{" BASE ",\"rule\":{}}",
     {{"/rule/name", "null", "=required: one of bp, fa, kp, sal, usf, frsf, brsf, dfa, wm", NULL}}},
    {"{" SAL ",\"distractions\":[]}", {{"/distractions", "[]", "one of name", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"bp\"},\"network\":{\"layers\":["
     "{\"type\":\"conv\",\"units\":0,\"activation\":\"selu\"},7]}}",
     {{"/network/layers/0/type", "\"conv\"", "=one of dense, conv2d, max_pool, avg_pool, flatten",
       "conv2d"},
      {"/network/layers/1", "7", "=object", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"bp\"},\"network\":{\"layers\":["
     "{\"type\":\"dense\",\"units\":0,\"activation\":\"selu\"}]}}",
     {{"/network/layers/0/units", "0", "=integer from 1 to 1048576", NULL},
      {"/network/layers/0/activation", "\"selu\"", "=one of relu, tanh, identity", "relu"}}},
    /* datasets */
    {"{\"dataset\":{\"name\":\"strike\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"strike\"", "mnist, reals, strokes, tall", NULL}}},
    {"{\"dataset\":{\"name\":\"mnits\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"mnits\"", "mnist", "mnist"}}},
    {"{\"dataset\":{\"name\":\"broken\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"broken\"", "labels", NULL}}},
    {"{\"dataset\":{\"name\":\"../mnist\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"../mnist\"", "one of", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":121,\"test\":21,\"seed\":3},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/seed", "3", "only strokes", NULL},
      {"/dataset/test", "21", "from 0 to 20", NULL},
      {"/dataset/train", "121", "from 1 to 120", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":100,\"validation\":100},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/validation", "100", "from 0 to 99", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":100,\"validation\":40},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/training/batch", "64", "from 1 to 60", NULL}}},
    {"{\"dataset\":{\"name\":\"bare\",\"train\":25,\"test\":6},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":8}}",
     {{"/dataset/train", "25", "from 1 to 24", NULL}}},
    {"{\"dataset\":{\"name\":\"bare\",\"test\":30},\"network\":{},\"rule\":{\"name\":\"bp\"},"
     "\"training\":{\"batch\":8}}",
     {{"/dataset/test", "30", "from 0 to 29", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":1000001},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/train", "1000001", "from 1 to 1000000", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"test\":[]},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/test", "[]", "=integer from 0 to 4294967295", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"seed\":-1},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/seed", "-1", "integer from 0", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"sha256\":\"sha256:"
     "0000000000000000000000000000000000000000000000000000000000000000\"},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/sha256", NULL, "sha256:", NULL}}},
    {"{\"dataset\":{\"name\":\"reals\"},\"network\":{},\"rule\":{\"name\":\"bp\"},"
     "\"training\":{\"batch\":4}}",
     {{"/network/loss", "\"cross_entropy\"", "mse", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"standardize\":\"featur\"},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/standardize", "\"featur\"", "=one of true, false, feature", "feature"}}},
    /* settings that the rule has no use for */
    {"{" BASE ",\"rule\":{\"name\":\"bp\",\"gate\":true,\"groups\":{\"B\":{},\"V\":{}}},"
     "\"optimizer\":{\"groups\":{\"U\":{\"lr\":1}}}}",
     {{"/rule/groups/B", NULL, "=groups of rule bp: W", NULL},
      {"/rule/groups/V", NULL, "=groups of rule bp: W", NULL},
      {"/optimizer/groups/U", "{\"lr\":1}", "=groups of rule bp: W", NULL},
      {"/rule/gate", "true", "no gate", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"dfa\",\"groups\":{\"B\":{},\"D\":{\"plastic\":true}}},"
     "\"optimizer\":{\"groups\":{\"D\":{\"lr\":1}}}}",
     {{"/optimizer/groups/D", "{\"lr\":1}", "=one of W, B, V, U", NULL},
      {"/rule/groups/B", "{\"init\":\"normal\"}", "=groups of rule dfa: W, D", NULL},
      {"/rule/groups/D/plastic", "true", "=false: the feedback of rule dfa is fixed", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"wm\"},\"optimizer\":{\"groups\":{\"B\":{\"lr\":1}}}}",
     {{"/optimizer/groups/B", "{\"lr\":1}",
       "=B of rule wm changes by rule.mirror; groups of rule wm: W", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"wm\",\"mirror\":{\"every\":0,\"batches\":1.5,\"noise\":0,"
     "\"lr\":0,\"decay\":-1,\"phase\":1}}}",
     {{"/rule/mirror/every", "0", "=integer from 1 to 1048576", NULL},
      {"/rule/mirror/batches", "1.5", "=integer from 1 to 1048576", NULL},
      {"/rule/mirror/noise", "0", "=number from 0.000001 to 1000000", NULL},
      {"/rule/mirror/lr", "0", "=number > 0", NULL},
      {"/rule/mirror/decay", "-1", "=number >= 0", NULL},
      {"/rule/mirror/phase", "1", "=one of every, batches, noise, lr, decay", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"wm\",\"mirror\":{\"lr\":1e-60,\"decay\":1e60}}}",
     {{"/rule/mirror/lr", "1e-60", "32 bits", NULL},
      {"/rule/mirror/decay", "1e+60", "32 bits", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"wm\",\"mirror\":7}}",
     {{"/rule/mirror", "7", "=object", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"mirror\":{\"every\":5}}}",
     {{"/rule/mirror", NULL, "=no mirror: rule kp has no mirror phases", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"groups\":{\"V\":{\"scale\":2}}},\"sweep\":{"
     "\"rule.groups.V.plastic\":[true],\"rule.groups.U.scale\":[2]}}",
     {{"/sweep/rule.groups.V.plastic/0", "true", "=groups of rule kp: W, B", NULL},
      {"/rule/groups/V", NULL, "=groups of rule kp: W, B", NULL},
      {"/sweep/rule.groups.U.scale/0", "2", "=groups of rule kp: W, B", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\"},\"sweep\":{\"rule.mirror.lr\":[0.5]}}",
     {{"/sweep/rule.mirror.lr/0", "0.5", "=no mirror: rule kp has no mirror phases", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"fa\",\"groups\":{\"B\":{\"plastic\":true}}}}",
     {{"/rule/groups/B/plastic", "true", "false", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"groups\":{\"W\":{\"init\":\"identity\"}}}}",
     {{"/rule/groups/W/init", "\"identity\"", "=one of normal, uniform, log_normal", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"groups\":{\"W\":{\"connection_probability\":0},"
     "\"V\":{\"connection_probability\":1.5},\"U\":{\"connection_probability\":1e-60}}}}",
     {{"/rule/groups/W/connection_probability", "0", "=number > 0 and <= 1", NULL},
      {"/rule/groups/V/connection_probability", "1.5", "=number > 0 and <= 1", NULL},
      {"/rule/groups/U/connection_probability", "1e-60", "32 bits", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"groups\":{\"W\":{\"dale\":{\"excitatory\":1}},"
     "\"B\":{\"dale\":{\"excitatory\":0}},\"U\":{\"dale\":{\"excitatory\":1e-60}},"
     "\"V\":{\"dale\":{\"excitatory\":0.99999999999}}}}}",
     {{"/rule/groups/W/dale/excitatory", "1", "=number > 0 and < 1", NULL},
      {"/rule/groups/B/dale/excitatory", "0", "=number > 0 and < 1", NULL},
      {"/rule/groups/V/dale/excitatory", "0.99999999999", "rounded to 32 bits", NULL},
      {"/rule/groups/U/dale/excitatory", "1e-60", "32 bits", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"bp\",\"groups\":{\"V\":{\"dale\":{}},"
     "\"W\":{\"dale\":true,\"init\":\"lognormal\"}}}}",
     {{"/rule/groups/W/dale", "true", "=object", NULL},
      {"/rule/groups/W/init", "\"lognormal\"", "=one of normal, uniform, log_normal", "log_normal"},
      {"/rule/groups/V", NULL, "=groups of rule bp: W", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"noise\":{\"activity\":-0.1,\"teaching\":1e31,"
     "\"synapses\":\"much\",\"input\":0.1}}}",
     {{"/rule/noise/activity", "-0.1", "=number >= 0", NULL},
      {"/rule/noise/synapses", "\"much\"", "=number >= 0", NULL},
      {"/rule/noise/input", "0.1", "=one of activity, teaching, synapses", NULL},
      {"/rule/noise/teaching", "1e31", "32 bits", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"delay\":{\"batches\":17,\"eligibility\":1},"
     "\"update_order\":\"topdown\"}}",
     {{"/rule/delay/batches", "17", "=integer from 0 to 16", NULL},
      {"/rule/delay/eligibility", "1", "=true or false", NULL},
      {"/rule/update_order", "\"topdown\"", "=one of together, top_down", "top_down"}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"delay\":{\"batches\":1},"
     "\"update_order\":\"top_down\"}}",
     {{"/rule/update_order", "\"top_down\"", "eligibility false", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\",\"center\":true,\"update_order\":\"top_down\"}}",
     {{"/rule/update_order", "\"top_down\"", "rule.center false", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"wm\",\"homeostasis\":{\"rate\":0.1}}}",
     {{"/rule/homeostasis", "{\"rate\": 0.1}", "no homeostasis: rule wm", NULL}}},
    /* how drives become changes */
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"normalize\":\"layer\",\"center\":1,"
     "\"homeostasis\":{\"rate\":1.5}},\"optimizer\":{\"clip\":-1}}",
     {{"/rule/normalize", "\"layer\"", "=one of none, stage", NULL},
      {"/rule/center", "1", "=true or false", NULL},
      {"/rule/homeostasis/rate", "1.5", "=number from 0 to 1", NULL},
      {"/optimizer/clip", "-1", "=number >= 0", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"homeostasis\":{\"rate\":1e-60}},"
     "\"optimizer\":{\"clip\":1e60}}",
     {{"/optimizer/clip", "1e60", "32 bits", NULL},
      {"/rule/homeostasis/rate", "1e-60", "32 bits", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"homeostasis\":{}}}",
     {{"/rule/homeostasis/rate", "null", "=required: number from 0 to 1", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"fa\",\"homeostasis\":{\"rate\":0.1}}}",
     {{"/rule/homeostasis", "{\"rate\": 0.1}", "no homeostasis: rule fa", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"bp\"},"
     "\"sweep\":{\"rule.homeostasis.rate\":[0.1]}}",
     {{"/sweep/rule.homeostasis.rate/0", "0.1", "no homeostasis: rule bp", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},"
     "\"network\":{\"layers\":[{\"units\":8},{\"units\":8,\"descending_units\":4}]}}",
     {{"/network/layers/1/descending_units", "4", "8 (units), or rule.gate false", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"kp\",\"gate\":false},"
     "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]}}",
     {{"/network/layers/0/descending_units", "4", "rule kp has no laterals", NULL}}},
    /* what is recorded, and augmentation */
    {"{" SAL ",\"record\":{\"assembly\":1,\"traces\":{\"per_array\":0},\"synapses\":\"W1/0/0\"}}",
     {{"/record/assembly", "1", "=true or false", NULL},
      {"/record/traces/groups", "null", "required", NULL},
      {"/record/traces/per_array", "0", "=integer from 1 to 256", NULL},
      {"/record/synapses", "\"W1/0/0\"", "array", NULL}}},
    {"{" SAL ",\"record\":{\"traces\":{\"groups\":[\"E\",\"W\",\"W\"]}}}",
     {{"/record/traces/groups/2", "\"W\"", "differ", NULL},
      {"/record/traces/groups/0", "\"E\"", "=one of W, B, V, U, D", NULL}}},
    {"{" SAL
     ",\"record\":{\"synapses\":[\"W1/16/0\",\"W1/15/784\",\"W3/0/0\",\"B1/0/0\",\"V1/7/16\","
     "\"W2/9/7\"]}}",
     {{"/record/synapses/0", "\"W1/16/0\"", "=row 0 to 15, column 0 to 783 of W1", NULL},
      {"/record/synapses/1", "\"W1/15/784\"", "=row 0 to 15, column 0 to 783 of W1", NULL},
      {"/record/synapses/2", "\"W3/0/0\"", "=array W1 to W2", NULL},
      {"/record/synapses/3", "\"B1/0/0\"", "=array B2 to B2", NULL},
      {"/record/synapses/4", "\"V1/7/16\"", "=row 0 to 15, column 0 to 15 of V1", NULL}}},
    {"{" SAL ",\"record\":{\"synapses\":[\"W1/00/1\",\"W1/-1/1\",\"X1/0/0\",\"W1/0/0/0\","
     "\"W1/4294967296/0\",\"b1/0/0\",\"W1/1/\"]}}",
     {{"/record/synapses/0", "\"W1/00/1\"", "array, row and column", NULL},
      {"/record/synapses/1", "\"W1/-1/1\"", "array, row and column", NULL},
      {"/record/synapses/2", "\"X1/0/0\"", "array, row and column", NULL},
      {"/record/synapses/3", "\"W1/0/0/0\"", "array, row and column", NULL},
      {"/record/synapses/4", "\"W1/4294967296/0\"", "array, row and column", NULL},
      {"/record/synapses/5", "\"b1/0/0\"", "array, row and column", NULL},
      {"/record/synapses/6", "\"W1/1/\"", "array, row and column", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"kp\"},\"record\":{\"spectrum\":true,\"traces\":{\"groups\":"
     "[\"W\",\"U\"]},\"synapses\":[\"B2/0/0\",\"V1/0/0\"]}}",
     {{"/record/spectrum", "true", "rule kp has no laterals", NULL},
      {"/record/traces/groups/1", "\"U\"", "rule kp", NULL},
      {"/record/synapses/1", "\"V1/0/0\"", "rule kp", NULL}}},
    {"{" SAL ",\"record\":{\"traces\":{\"groups\":[\"W\",\"B\"],\"per_array\":86},"
     "\"synapses\":[\"V1/0/0\"]}}",
     {{"/record/traces/per_array", "86", "at most 85: there are 3 arrays", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},\"network\":{\"layers\":["
     "{\"units\":1024},{\"units\":1025}]},\"record\":{\"spectrum\":true}}",
     {{"/record/spectrum", "true", "network.layers.1 is 1025 wide", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"augment\":{\"crop\":9,\"flip\":\"yes\",\"rotate\":1}},"
     "\"rule\":{\"name\":\"bp\"},\"network\":{}}",
     {{"/dataset/augment/crop", "9", "=integer from 0 to 8", NULL},
      {"/dataset/augment/flip", "\"yes\"", "=true or false", NULL},
      {"/dataset/augment/rotate", "1", "=one of crop, flip", NULL}}},
    {"{\"dataset\":{\"name\":\"reals\",\"augment\":{\"flip\":true}},\"rule\":{\"name\":\"bp\"},"
     "\"network\":{\"loss\":\"mse\"},\"training\":{\"batch\":4}}",
     {{"/dataset/augment", "{\"flip\":true}", "dataset reals are not images", NULL}}},
    /* schedules */
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"stp\"}}}",
     {{"/optimizer/schedule/type", "\"stp\"", "=one of constant, step, cosine", "step"}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":7}}", {{"/optimizer/schedule", "7", "=object", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"step\"}}}",
     {{"/optimizer/schedule/epochs", "null", "required: array of 1 to 16 items", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"step\",\"epochs\":[5,3],\"factor\":0}}}",
     {{"/optimizer/schedule/factor", "0", "=number > 0 and <= 1", NULL},
      {"/optimizer/schedule/epochs/1", "3", "integer > 5", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"factor\":0.5}}}",
     {{"/optimizer/schedule/factor", "0.5", "=one of type; factor goes with type step or cosine",
       NULL}}},
    /* memory */
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":10},\"rule\":{\"name\":\"sal\"},"
     "\"network\":{\"layers\":[{\"units\":100000},{\"units\":100000}]}}",
     {{"/network", NULL, "at most 1073741824 bytes", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":1000000,\"test\":1000000},"
     "\"rule\":{\"name\":\"bp\"},\"network\":{}}",
     {{"/network", NULL, "at most 1073741824 bytes", NULL}}},
    /* initial weights */
    {"{" SAL ",\"initial_weights\":\"none.npz\"}",
     {{"/initial_weights", "\"none.npz\"", "a regular file", NULL}}},
    {"{" SAL ",\"initial_weights\":\"../data/reals.npz\"}",
     {{"/initial_weights", NULL, "without '/'", NULL}}},
    {"{" SAL ",\"initial_weights\":\"..\"}", {{"/initial_weights", NULL, "not beginning", NULL}}},
    {"{" SAL ",\"initial_weights\":\"start.npz\",\"initial_weights_sha256\":\"sha256:"
     "0000000000000000000000000000000000000000000000000000000000000000\"}",
     {{"/initial_weights_sha256", NULL, "sha256:", NULL}}},
    /* sweeps */
    {"{" SAL ",\"sweep\":7}", {{"/sweep", "7", "=object or array", NULL}}},
    {"{" SAL ",\"sweep\":{}}", {{"/sweep", "{}", "at least 1 fields", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[]}}",
     {{"/sweep/training.seed", "[]", "=array of at least 1 items", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":3}}", {{"/sweep/training.seed", "3", "array", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seeds\":[1]}}",
     {{"/sweep/training.seeds", "[1]", "a path: training.epochs", "training.seed"}}},
    {"{" SAL ",\"sweep\":{\"optimiser.lr\":[1]}}",
     {{"/sweep/optimiser.lr", "[1]", "a path: ", "optimizer.lr"}}},
    {"{" SAL ",\"sweep\":{\"network.layers.1.units\":[1]}}",
     {{"/sweep/network.layers.1.units", "[1]", "=a path: network.layers.0", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed.x\":[1]}}",
     {{"/sweep/training.seed.x", "[1]", "nothing below", NULL}}},
    {"{" SAL ",\"sweep\":{\"name\":[\"a\"],\"record.keep\":[3]}}",
     {{"/sweep/name", "[\"a\"]", "cannot be swept", NULL},
      {"/sweep/record.keep", "[3]", "cannot be swept", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[1,2,1.0]}}",
     {{"/sweep/training.seed/2", "1.0", "differ", NULL}}},
    {"{" SAL ",\"sweep\":{\"optimizer\":[{}],\"optimizer.lr\":[1]}}",
     {{"/sweep/optimizer.lr", "[1]", "not inside optimizer", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[1,2,-3],\"optimizer.lr\":[0.1,\"x\"]}}",
     {{"/sweep/training.seed/2", "-3", "integer from 0", NULL},
      {"/sweep/optimizer.lr/1", "\"x\"", "=number > 0", NULL}}},
    {"{" BASE ",\"rule\":{},\"sweep\":[{\"rule.name\":[\"sal\",\"bb\"]},{\"rule.name\":[\"cp\"]}]}",
     {{"/sweep/0/rule.name/1", "\"bb\"", "one of bp", "bp"},
      {"/sweep/1/rule.name/0", "\"cp\"", "one of bp", "bp"}}},
    {"{" BASE ",\"rule\":{\"name\":\"bp\"},\"sweep\":{\"optimizer.groups.V.lr\":[0.1,0.2]}}",
     {{"/sweep/optimizer.groups.V.lr/0", "0.1", "groups of rule bp: W", NULL},
      {"/sweep/optimizer.groups.V.lr/1", "0.2", "groups of rule bp: W", NULL}}},
    {"{" SAL ",\"sweep\":{\"dataset.name\":[\"strokes\",\"nothing\"]}}",
     {{"/sweep/dataset.name/1", "\"nothing\"", "one of ", NULL}}},
    /* everything at once */
    {"{\"name\":\"\",\"tags\":[\"a\",\"a\"],\"dataset\":{\"name\":\"nothing\"},"
     "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]},"
     "\"rule\":{\"name\":\"sal\",\"gates\":false},\"optimizer\":{\"lr\":0},"
     "\"record\":{\"every\":-1}}",
     {{"/name", "\"\"", "=string of 1 to 200 characters", NULL},
      {"/tags/1", "\"a\"", "items that differ", NULL},
      {"/rule/gates", "false", "one of name, gate, normalize, center, homeostasis, groups", "gate"},
      {"/optimizer/lr", "0", "=number > 0", NULL},
      {"/record/every", "-1", "=integer from 0 to 1000000000", NULL},
      {"/network/layers/0/descending_units", "4", "8 (units)", NULL},
      {"/dataset/name", "\"nothing\"", "strokes", NULL}}},
};

static void test_faults(void **state)
{
    (void)state;
    expect_faults(bad_cases, sizeof bad_cases / sizeof bad_cases[0]);
}

static void test_faults_are_small(void **state)
{
    (void)state;
    size_t n = 900000;
    char *text = malloc(n + 2000), *p = text;
    p += sprintf(p, "{" SAL ",\"optimizer\":{\"lr\":\"");
    for (size_t i = 0; i < n / 3; i++)
        p += sprintf(p, "\xe2\x82\xac");
    p += sprintf(p, "\"}");
    for (int i = 0; i < 150; i++)
        p += sprintf(p, ",\"k%d\":1", i);
    sprintf(p, "}");
    json_t *details = read_faults(text);
    assert_int_equal(json_array_size(details), DEFINITION_MAX_FAULTS);
    char *all = dump(details);
    assert_true(strlen(all) < 40000);
    free(all);
    json_decref(details);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_are_small),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
