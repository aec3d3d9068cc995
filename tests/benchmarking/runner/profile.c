/* ort_profile.c on a file of events: FILE RUNS. Prints the operation, the node and the mean of each line. */
#include "ort_profile.c"

struct ort_api ort;

ort_handle open_session(const struct options *options, const char *profile_prefix) {
    (void)options, (void)profile_prefix;
    return NULL;
}

void run_session(ort_handle session) { (void)session; }

void check_ort(ort_status status, int code) { (void)status, (void)code; }

int main(int count, char **arguments) {
    struct op_time *ops;
    FILE *file = count == 3 ? fopen(arguments[1], "r") : NULL;
    if (!file) return 2;
    size_t found = read_file(file, atoi(arguments[2]), &ops);
    for (size_t i = 0; i < found; i++) printf("%s\t%s\t%.9g\n", ops[i].op, ops[i].node, ops[i].mean_us);
    return 0;
}
