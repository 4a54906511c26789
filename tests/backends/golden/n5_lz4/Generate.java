import java.io.DataOutputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import net.jpountz.lz4.LZ4BlockOutputStream;

/** Writes the blocks of an N5 array as n5-java does: its block header, then lz4-java's block stream. See README.md. */
public class Generate {
    static final int[] DIMENSIONS = {21, 10, 5};
    static final int[] BLOCK = {16, 8, 4};
    /** Of the stream; so small that blocks have several of its blocks, of which some cannot be compressed. */
    static final int STREAM_BLOCK = 512;

    public static void main(String[] args) throws Exception {
        for (int z = 0; z < 2; z++)
            for (int y = 0; y < 2; y++)
                for (int x = 0; x < 2; x++)
                    if (x + y + z < 3) write(Path.of(args[0], "" + x, "" + y, "" + z), new int[] {x, y, z});
    }

    static int value(int x, int y, int z) {
        int n = x + 100 * y + 10000 * z;
        return z < 2 ? (n * 40503 >>> 3) & 0xffff : (x / 4 + 10 * y + 100 * z) & 0xffff;
    }

    static void write(Path path, int[] index) throws Exception {
        int[] size = new int[3];
        for (int i = 0; i < 3; i++) size[i] = Math.min(BLOCK[i], DIMENSIONS[i] - index[i] * BLOCK[i]);
        ByteBuffer voxels = ByteBuffer.allocate(2 * size[0] * size[1] * size[2]);
        for (int z = 0; z < size[2]; z++)
            for (int y = 0; y < size[1]; y++)
                for (int x = 0; x < size[0]; x++)
                    voxels.putShort((short) value(index[0] * 16 + x, index[1] * 8 + y, index[2] * 4 + z));
        Files.createDirectories(path.getParent());
        try (OutputStream file = Files.newOutputStream(path)) {
            DataOutputStream header = new DataOutputStream(file);
            header.writeShort(0);
            header.writeShort(3);
            for (int n : size) header.writeInt(n);
            header.flush();
            LZ4BlockOutputStream stream = new LZ4BlockOutputStream(file, STREAM_BLOCK);
            stream.write(voxels.array());
            stream.finish();
        }
    }
}
