import java.sql.DriverManager;

/** Reads a result by JDBC with a fetch size and forgets it: Drain PORT USER DATABASE SQL; prints how many rows came. */
public class Drain {
    public static void main(String[] arguments) throws Exception {
        var address = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/" + arguments[2];
        try (var connection = DriverManager.getConnection(address, arguments[1], "")) {
            connection.setAutoCommit(false);
            try (var statement = connection.createStatement()) {
                statement.setFetchSize(10_000);
                long rows = 0;
                try (var result = statement.executeQuery(arguments[3])) {
                    while (result.next()) {
                        rows++;
                    }
                }
                System.out.println(rows);
            }
        }
    }
}
