// Threads that compute in a method of which one thread at a time may be inside. With `cure` they compute outside of it.
public class Monitor {
    static long total;

    static synchronized void add(long value) {
        total += value;
    }

    static synchronized void computeAndAdd(long units) {
        total += compute(units);
    }

    static long compute(long units) {
        long state = 1;
        for (long i = 0; i < units * 300_000; i++) state = state * 1664525 + 1013904223;
        return state;
    }

    public static void main(String[] words) throws InterruptedException {
        boolean isCure = words.length > 0 && words[0].equals("cure");
        Thread[] threads = new Thread[4];
        for (int number = 0; number < threads.length; number++) {
            threads[number] = new Thread(() -> {
                for (int step = 0; step < 400; step++) {
                    if (isCure) add(compute(1));
                    else computeAndAdd(1);
                }
            }, "worker-" + number);
            threads[number].start();
        }
        for (Thread thread : threads) thread.join();
    }
}
