/* SPDX-License-Identifier: MIT
 *
 * How near are these sentences to each other? Embeds them, prints the cosines of all pairs as a
 * coloured table and draws them as a heat map.
 *
 *   cc embed_similarity.c -o embed_similarity $(pkg-config --cflags --libs libllm)
 *   ./embed_similarity MODEL_DIR [-o heatmap.svg] ["first text" "second text" ...]
 *
 * Without texts it reads lines from standard input. MODEL_DIR is for example all-MiniLM-L6-v2.
 */
#include <llm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXTS = 200, CELL = 44, LINE = 1024 };

struct explorer {
    const char *texts[MOST_TEXTS];
    size_t sizes[MOST_TEXTS], count;
    float *vectors; /* [count, dim] */
    float *matrix;  /* [count, count] */
};

static void read_lines(struct explorer *x)
{
    static char lines[MOST_TEXTS][LINE];

    while (x->count < MOST_TEXTS && fgets(lines[x->count], LINE, stdin)) {
        lines[x->count][strcspn(lines[x->count], "\r\n")] = '\0';
        if (lines[x->count][0]) {
            x->texts[x->count] = lines[x->count];
            x->count++;
        }
    }
}

static int compute(struct explorer *x, const llm_task *task)
{
    size_t dim = (size_t)llm_model_dim(llm_task_model(task));

    for (size_t i = 0; i < x->count; i++)
        x->sizes[i] = strlen(x->texts[i]);
    x->vectors = malloc(x->count * dim * sizeof *x->vectors + 1);
    x->matrix = malloc(x->count * x->count * sizeof *x->matrix + 1);
    if (!x->vectors || !x->matrix)
        return 1;
    return llm_task_embed(x->vectors, x->count * dim, NULL, task, x->texts, x->sizes, x->count) ||
           llm_similarity(x->matrix, x->vectors, x->count, x->vectors, x->count, dim);
}

/* 0 .. 1 from far to near: dark blue over green to yellow. */
static void colour(float cosine, int rgb[3])
{
    static const int stops[4][3] = {{68, 1, 84}, {49, 104, 142}, {53, 183, 121}, {253, 231, 37}};
    float at = (cosine < 0.0f ? 0.0f : cosine) * 3.0f;
    int stop = at >= 3.0f ? 2 : (int)at;

    for (int i = 0; i < 3; i++) {
        float low = (float)stops[stop][i];
        float high = (float)stops[stop + 1][i];

        rgb[i] = (int)(low + (at - (float)stop) * (high - low) + 0.5f);
    }
}

static void print_table(const struct explorer *x)
{
    int rgb[3];

    for (size_t i = 0; i < x->count; i++) {
        printf("%3zu ", i + 1);
        for (size_t j = 0; j < x->count; j++) {
            float cosine = x->matrix[i * x->count + j];

            colour(cosine, rgb);
            printf("\033[48;2;%d;%d;%dm\033[38;2;%sm%6.2f \033[0m", rgb[0], rgb[1], rgb[2],
                   cosine > 0.6f ? "0;0;0" : "255;255;255", (double)cosine);
        }
        printf("  %s\n", x->texts[i]);
    }
}

static void write_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            fprintf(file, "&#%d;", *text);
        else
            fputc(*text, file);
    }
}

static int draw(const struct explorer *x, const char *path)
{
    FILE *file = fopen(path, "w");
    size_t side = x->count * CELL;
    int failed, rgb[3];

    if (!file)
        return 1;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n",
            side + 600, side);
    for (size_t i = 0; i < x->count; i++) {
        for (size_t j = 0; j < x->count; j++) {
            float cosine = x->matrix[i * x->count + j];

            colour(cosine, rgb);
            fprintf(file,
                    "<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\"/>"
                    "<text x=\"%zu\" y=\"%zu\" text-anchor=\"middle\" fill=\"%s\">%.2f</text>\n",
                    j * CELL, i * CELL, CELL, CELL, (unsigned)rgb[0], (unsigned)rgb[1],
                    (unsigned)rgb[2], j * CELL + CELL / 2, i * CELL + CELL / 2 + 4,
                    cosine > 0.6f ? "black" : "white", (double)cosine);
        }
        fprintf(file, "<text x=\"%zu\" y=\"%zu\">", side + 10, i * CELL + CELL / 2 + 4);
        write_escaped(file, x->texts[i]);
        fprintf(file, "</text>\n");
    }
    fprintf(file, "</svg>\n");
    failed = ferror(file);
    return fclose(file) != 0 || failed;
}

int main(int argc, char **argv)
{
    struct explorer x = {{0}, {0}, 0, NULL, NULL};
    const char *svg = NULL;
    llm_context *context = NULL;
    llm_task *task = NULL;
    int first = 2, failed;

    if (argc > 3 && strcmp(argv[2], "-o") == 0) {
        svg = argv[3];
        first = 4;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: embed_similarity MODEL_DIR [-o heatmap.svg] [TEXT...]\n");
        return 2;
    }
    for (int i = first; i < argc && x.count < MOST_TEXTS; i++)
        x.texts[x.count++] = argv[i];
    if (x.count == 0)
        read_lines(&x);
    failed = llm_context_new(&context, NULL) || llm_task_load(&task, context, argv[1], NULL) ||
             compute(&x, task);
    if (failed) {
        fprintf(stderr, "embed_similarity: %s\n", llm_last_error());
    } else {
        print_table(&x);
        if (svg && draw(&x, svg)) {
            fprintf(stderr, "embed_similarity: cannot write %s\n", svg);
            failed = 1;
        }
    }
    free(x.vectors);
    free(x.matrix);
    llm_task_free(task);
    llm_context_free(context);
    return failed;
}
