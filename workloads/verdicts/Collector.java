// Threads that replace objects in a large heap, whose collector (chosen by options) stops them all for long. With `explicit` they ask
// for a collection after each piece of work, as some libraries do.
import java.util.Random;

public class Collector {
    static final Object[] kept = new Object[700_000];

    public static void main(String[] words) throws InterruptedException {
        boolean asks = words.length > 0 && words[0].equals("explicit");
        for (int i = 0; i < kept.length; i++) kept[i] = new byte[48];
        Thread[] threads = new Thread[2];
        for (int number = 0; number < threads.length; number++) {
            Random random = new Random(number);
            threads[number] = new Thread(() -> {
                for (int piece = 0; piece < 12; piece++) {
                    for (int i = 0; i < (asks ? 20_000 : 250_000); i++) kept[random.nextInt(kept.length)] = new byte[48];
                    if (asks) System.gc();
                }
            }, "worker-" + number);
            threads[number].start();
        }
        for (Thread thread : threads) thread.join();
    }
}
