/* Rows added up by target: out[r] = Σ of the rows i with at(i) = r, in the order of i. After tile.h.
 *
 * Contract for the code generator: holes
 *   int64_t sn_scatter_at_s(context, int64_t i)              the target of row i, checked: 0 <= target < rows
 *   vf32 sn_scatter_x_v(context, int64_t i, int64_t c), float sn_scatter_x_s(…)
 * A work item owns `chunk` rows of the result: it clears them, looks at every target and adds what is its own. So
 * the order of sums is that of i, whoever does which item. */
#ifndef SN_DEVICE_SCATTER_H
#define SN_DEVICE_SCATTER_H

SN_INLINE int64_t sn_scatter_at_s(const SnContext *context, int64_t i);
SN_INLINE vf32 sn_scatter_x_v(const SnContext *context, int64_t i, int64_t c);
SN_INLINE float sn_scatter_x_s(const SnContext *context, int64_t i, int64_t c);

SN_INLINE void sn_scatter_clear(float *out, int64_t count) {
    int64_t i = 0;
    for (; i + SN_LANES <= count; i += SN_LANES) sn_store_f32_v(out + i, sn_splat_f32(0));
    for (; i < count; i++) out[i] = 0;
}

static void sn_scatter_run(const SnContext *context, float *out, int64_t count, int64_t rows, int64_t columns,
                           int64_t chunk, int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item * chunk, last = first + chunk < rows ? first + chunk : rows;
        sn_scatter_clear(out + first * columns, (last - first) * columns);
        for (int64_t i = 0; i < count; i++) {
            const int64_t target = sn_scatter_at_s(context, i);
            if (target < first || target >= last) continue;
            float *sum = out + target * columns;
            int64_t c = 0;
            for (; c + SN_LANES <= columns; c += SN_LANES)
                sn_store_f32_v(sum + c, sn_load_f32_v(sum + c) + sn_scatter_x_v(context, i, c));
            for (; c < columns; c++) sum[c] += sn_scatter_x_s(context, i, c);
        }
    }
}

#endif
