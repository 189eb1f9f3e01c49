// SPDX-License-Identifier: Apache-2.0
/*
 * Follows a trainer with a naive network, step by step from the same initial weights, through
 * everything that it reports. Included by a network once it has defined
 *
 *     LAYERS, WIDTH, BATCH   how large it may be
 *     net                    its plan, L, d[], inputs, step; in double x, z, s, the activities,
 *                            [layer][example * WIDTH + unit]; these last, from z on
 *
 * and before it defines the functions below.
 */
#ifndef TESTS_FOLLOW_H
#define TESTS_FOLLOW_H

#include "naive_circuit.h"
#include "training.h"

/* ---- what the network defines ---- */

static inline void take_over(const struct tet_trainer *t, const struct tet_plan *plan,
                             const struct data *data); // takes the trainer's weights over
static inline void ascend(uint32_t n);                 // x_0 of n examples to z_L
static inline void descend_to(uint32_t n,
                              uint32_t l);        // s_{l+1} to s_l and m_l; all u_l where l = L
static inline void weigh(uint32_t n, uint32_t l); // what stage l sees; and takes its mean out of it
static inline void change_stage(uint32_t n, uint32_t l, double rate); // W_l, b_l, B_l, V_l, U_l
static inline size_t check_telemetry(const struct log *log, uint64_t step,
                                     uint32_t n); // returns how many records a step's has
static inline void check_weights(const char *what, const struct tet_trainer *t, uint64_t step,
                                 double allowed);

/* ---- examples ---- */

static inline void load(uint32_t n, const struct tet_examples *part, uint32_t first)
{
    assert_true(n <= BATCH);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < net.inputs; c++)
            net.x[0][i * WIDTH + c] = part->floats[(size_t)(first + i) * net.inputs + c];
}

/* Sets s_L; sums the loss of n examples, first.. of a part; counts the right ones. */
static inline double judge(uint32_t n, const struct tet_examples *part, uint32_t first,
                           uint64_t *correct)
{
    const uint32_t L = net.L, d = net.d[L];
    double loss = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const double *z = net.z[L] + i * WIDTH;
        double *s = net.s[L] + i * WIDTH, sum = 0.0;
        uint32_t best = 0;
        for (uint32_t c = 1; c < d; c++)
            best = z[c] > z[best] ? c : best;
        for (uint32_t c = 0; c < d; c++)
            sum += exp(z[c] - z[best]);
        const uint32_t label = part->labels != NULL ? (uint32_t)part->labels[first + i] : d;
        *correct += best == label;
        for (uint32_t c = 0; c < d; c++) {
            const double t =
                part->labels != NULL ? c == label : (double)part->targets[(first + i) * d + c];
            s[c] = t - (net.plan.loss == TET_MSE ? z[c] : exp(z[c] - z[best]) / sum);
            if (net.plan.loss == TET_MSE)
                loss += s[c] * s[c] / 2.0;
            else if (c == label)
                loss += log(sum) - (z[c] - z[best]);
        }
    }
    return loss;
}

/* ---- comparing the two ---- */

static inline void check_record(const struct log *log, uint64_t step, enum tet_series series,
                                uint32_t l, double expected, double tolerance)
{
    char name[TET_SERIES_NAME];
    double got = NAN;
    tet_series_text(series, l, name);
    if (!find(log, step, series, l, &got))
        fail_msg("step %llu: no record %s", (unsigned long long)step, name);
    close_to(name, step, l, got, expected, tolerance);
}

static inline void check_part(const struct log *log, uint64_t step, const struct tet_examples *part,
                              uint32_t first, uint32_t n, enum tet_series series)
{
    double loss = 0.0, value;
    uint64_t correct = 0;
    if (n == 0) {
        assert_false(find(log, step, series, 0, &value));
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        load(1, part, first + i);
        ascend(1);
        loss += judge(1, part, first + i, &correct);
    }
    check_record(log, step, series, 0, loss / n, 1e-4 * (1.0 + loss / n));
    if (part->labels != NULL)
        check_record(log, step, (enum tet_series)(series + 1), 0, (double)correct / n, 1e-9);
    else
        assert_false(find(log, step, (enum tet_series)(series + 1), 0, &value));
}

/* ---- learning ---- */

static inline void teach(uint32_t n) // noisily
{
    const double sd = (double)net.plan.noise.teaching;
    const uint32_t d = net.d[net.L];
    for (uint32_t i = 0; i < n && sd > 0.0; i++)
        for (uint32_t c = 0; c < d; c++)
            net.s[net.L][i * WIDTH + c] +=
                sd * naive_normal(&net.plan, 22, 0, net.plan.batch, i, d, c);
}

/* What waits: the activities or s_L of a mini-batch of n examples. */
static struct {
    activity activities[(sizeof net - offsetof(struct network, z)) / sizeof(activity)], s;
    uint32_t n;
} waiting[3];

static inline void exchange(activity *a, activity *b, size_t n)
{
    static activity kept;
    for (size_t i = 0; i < n; i++) {
        memcpy(kept, a[i], sizeof kept);
        memcpy(a[i], b[i], sizeof kept);
        memcpy(b[i], kept, sizeof kept);
    }
}

static inline bool changes(void) // whether anything is no longer waited for
{
    return naive.step >= net.plan.delay.batches;
}

/* From s_L of n examples down. Returns how many have a signal: where that of another mini-batch has
 * come in, the fewer of both, each with its own mini-batch's share in the mean. */
static inline uint32_t send(uint32_t n, double rate)
{
    const struct tet_delay_plan delay = net.plan.delay;
    if (delay.batches > 0 && !delay.eligibility) {
        const uint32_t slot = (uint32_t)(naive.step % delay.batches), now = n;
        assert_true(delay.batches <= COUNT(waiting));
        const uint32_t then = changes() ? waiting[slot].n : now;
        exchange(&net.s[net.L], &waiting[slot].s, 1);
        waiting[slot].n = now;
        n = then < now ? then : now;
        for (uint32_t i = 0; i < n * WIDTH; i++)
            net.s[net.L][i] *= (double)n / then;
    }
    for (uint32_t l = 1; l <= net.L && changes() && net.plan.top_down; l++)
        weigh(n, l);
    for (uint32_t l = net.L; l >= 1; l--) {
        descend_to(n, l);
        if (net.plan.top_down && changes())
            change_stage(n, l, rate);
    }
    net.step++;
    return n;
}

/* What is left to change once the signal of n examples has descended. */
static inline void change(uint32_t n, double rate)
{
    const struct tet_delay_plan delay = net.plan.delay;
    if (delay.batches > 0 && delay.eligibility) {
        const uint32_t slot = (uint32_t)(naive.step % delay.batches), now = n;
        assert_true(delay.batches <= COUNT(waiting));
        n = waiting[slot].n;
        exchange(net.z, waiting[slot].activities, COUNT(waiting->activities));
        waiting[slot].n = now;
    }
    if (!changes() || net.plan.top_down)
        return;
    for (uint32_t l = 1; l <= net.L; l++)
        weigh(n, l);
    for (uint32_t l = 1; l <= net.L; l++)
        change_stage(n, l, rate);
}

/* Follows a trainer with the naive network to its end, through everything that it reports. */
static inline void follow(const char *what, const struct tet_plan *plan, const struct data *data)
{
    static struct log log;
    struct tet_trainer *t = make(plan, data, &log);
    take_over(t, plan, data);
    if (plan->delay.batches > 0)
        memset(waiting, 0, sizeof waiting);
    const struct tet_examples *train = &data->set.train;
    uint64_t step = 0;
    size_t records = 0;
    bool ended = false;
    for (uint32_t epoch = 0; epoch < plan->epochs && !ended; epoch++) {
        double sum = 0.0;
        uint64_t correct = 0;
        uint32_t n, first = 0;
        for (; first < plan->n_train && !ended; first += n) {
            n = plan->n_train - first < plan->batch ? plan->n_train - first : plan->batch;
            load(n, train, first);
            naive.learning = true;
            naive.step = step;
            ascend(n);
            const double loss = judge(n, train, first, &correct), rate = tet_plan_rate(plan, epoch);
            teach(n);
            const uint32_t sent = send(n, rate);
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            step++;
            sum += loss;
            close_to(what, step, 0, tet_trainer_loss(t), loss / n, 1e-4 * (1.0 + loss / n));
            if (plan->record_every > 0 && (step == 1 || step % plan->record_every == 0))
                records += check_telemetry(&log, step, sent);
            assert_int_equal(log.n, records);
            change(sent, rate);
            check_weights(what, t, step, 1e-4);
            ended = step == tet_plan_steps(plan);
        }
        naive.learning = false;
        const uint32_t seen = first < plan->n_train ? first : plan->n_train;
        enum tet_event event;
        while ((event = tet_trainer_step(t)) == TET_STEPPED)
            ;
        assert_int_equal(event, ended ? TET_FINISHED : TET_EPOCH);
        check_record(&log, step, TET_SERIES_TRAIN_LOSS, 0, sum / seen, 1e-4 * (1.0 + sum / seen));
        if (train->labels != NULL)
            check_record(&log, step, TET_SERIES_TRAIN_ACCURACY, 0, (double)correct / seen, 1e-9);
        check_part(&log, step, train, plan->n_train, plan->n_validation,
                   TET_SERIES_VALIDATION_LOSS);
        const struct tet_examples *test = data->set.test.n > 0 ? &data->set.test : train;
        check_part(&log, step, test, test == train ? train->n - plan->n_test : 0, plan->n_test,
                   TET_SERIES_TEST_LOSS);
        records = log.n;
    }
    assert_int_equal(step, tet_plan_steps(plan));
    assert_int_equal(tet_trainer_cursor(t).step, step);
    assert_int_equal(tet_trainer_cursor(t).records, log.n);
    assert_int_equal(tet_trainer_step(t), TET_FINISHED);
    check_weights(what, t, step, 1e-4);
    tet_trainer_destroy(t);
}

#endif
